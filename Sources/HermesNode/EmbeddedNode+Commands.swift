import HermesBackplane
import HermesModel
import HermesProtocol
import HermesSystem

// What is asked of module processes beside frames, and their replies.

extension EmbeddedNode {
    func send(_ type: Int, to index: Int, head: [UInt8] = [], body: [UInt8] = []) throws -> UInt32 {
        // Asked before the command goes out: the one that stages makes the module ready.
        let isReady = segment?.isReady(module: index) == true
        guard
            let sequence = processes[index]!.send(
                type, head: head, body: body, until: deadline(after: startSeconds(index)))
        else { throw failure(.protocolError, index, "does not read its command FIFO") }
        if isReady { segment!.announceCommand(toModule: index) }
        if segment?.isBroken == true { throw segmentFailure(nil, frame: nil) }
        return sequence
    }

    func expectSuccess(_ index: Int, _ sequence: UInt32, _ call: String) throws {
        let reply = try awaitRecord(index, doing: "return from \(call)") { $0.replies.removeValue(forKey: sequence) }
        guard reply.status == 0 else {
            // What it found wrong may be what something wrote over.
            if segment?.damage != nil { throw segmentFailure(nil, frame: nil) }
            throw callFailure(index, call, reply.status, reply.text)
        }
    }

    func check(_ status: Int32, of index: Int, _ module: InprocModule, _ call: String) throws {
        guard status == 0 else { throw callFailure(index, call, status, module.reason) }
    }

    /// Waits for something of a module's process; says so at half the time, and throws when it is lost or too late.
    func awaitRecord<Result>(
        _ index: Int, doing what: String, frame: UInt64? = nil, _ body: (inout ProcessRecord) -> Result?
    ) throws -> Result {
        let record = Int(processes[index]!.id)
        let limit = startSeconds(index)
        func look(_ records: inout [ProcessRecord]) -> Awaited<Result>? {
            if isAbandoned { return .lost }
            if let result = body(&records[record]) { return .result(result) }
            if isRestarting && endsMeanwhile(records) { return .elsewhere }
            let seen = records[record]
            return seen.exitStatus != nil || seen.launchError != nil || seen.rubbish != nil ? .lost : nil
        }
        // Also one that may take for ever is told of, once.
        let half = (limit == 0 ? Module.ordinaryStartSeconds : limit) / 2
        var outcome = supervisor!.records.wait(until: deadline(after: half), for: look)
        if outcome == nil {
            reporter.warning("waiting for host \(hostName), module \(simulation.modules[index].name) to \(what)")
            outcome = supervisor!.records.wait(until: deadline(after: limit == 0 ? 0 : half), for: look)
        }
        switch outcome {
        case .result(let result): return result
        case .lost: throw lost(index, frame: frame)
        case .elsewhere: throw lossFailure(frame: frame ?? segment!.frame)
        case nil:
            throw failure(
                .timeout, index, "did not \(what) within \(SignalValue.text(limit)) s\(Self.startCure)", frame: frame)
        }
    }
}

private enum Awaited<Result> {
    case result(Result)
    case lost
    /// Another module ends the run.
    case elsewhere
}
