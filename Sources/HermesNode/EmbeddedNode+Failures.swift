import CKeeper
import Glibc
import HermesBackplane
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport

// Which module or host it was, and why, in words.

extension EmbeddedNode {
    func record<Result>(_ index: Int, _ body: (ProcessRecord) -> Result) -> Result {
        supervisor!.records.with { body($0[Int(processes[index]!.id)]) }
    }

    func exitStatus(_ index: Int) -> Int32? { record(index) { $0.exitStatus } }

    func isLost(_ index: Int) -> Bool {
        record(index) { $0.isLoss(ofFreeScript: plan?.modules[index].isFree == true) }
    }

    /// The first module that is gone and whose loss ends the run.
    var fatalLoss: Int? { recordOrder.first { guards?.place(of: $0) == nil && isLost($0) } }

    func throwIfLost(frame: UInt64?) throws {
        if let index = fatalLoss { throw lost(index, frame: frame) }
    }

    /// Who made the barrier report a fault.
    func lossFailure(frame: UInt64) -> RunFailure {
        // Modules that find their segment gone end by themselves.
        if segment!.isBroken { return brokenFailure(nil, frame: frame) }
        // A process that is gone is gone; a status word may be anything.
        if segment!.damage != nil {
            return fatalLoss.map { lost($0, frame: frame) } ?? brokenFailure(nil, frame: frame)
        }
        for index in recordOrder where guards?.place(of: index) == nil && segment!.status(ofModule: index) != 0 {
            return statusFailure(index, segment!.status(ofModule: index), reason(of: index), frame: frame)
        }
        if let index = fatalLoss { return lost(index, frame: frame) }
        if isAbandoned { return abandoned(frame) }
        return brokenFailure(nil, frame: frame)
    }

    /// Something wrote over the segment. Who it was nobody can tell: whoever maps the segment may.
    /// - Parameter index: a module that has not made its step of the frame though the segment says so.
    func brokenFailure(_ index: Int?, frame: UInt64) -> RunFailure {
        if isAbandoned { return abandoned(frame) }
        if index == nil, !segment!.isBroken, let lost = fatalLoss { return self.lost(lost, frame: frame) }
        return segmentFailure(index, frame: frame)
    }

    /// The same, whoever else has failed.
    func segmentFailure(_ index: Int?, frame: UInt64?) -> RunFailure {
        let found = segment!.damage ?? "the words of the barrier"
        let missing = index.map { "; module \(simulation.modules[$0].name) has not made its step of that frame" } ?? ""
        return RunFailure(
            .protocolError, host: hostName, frame: frame,
            cause:
                "something wrote over the segment \(segment!.name), where modules and Hermes meet: it changed \(found)\(missing). "
                + "A module, or a program that maps the segment, stores where it should not: look for a wild pointer")
    }

    func linkFailure(_ fault: LinkFault, frame: UInt64) -> RunFailure {
        switch fault {
        case .alarm:
            if fatalLoss != nil { return lossFailure(frame: frame) }
            if isAbandoned { return abandoned(frame) }
            return RunFailure(.lost, host: hostName, frame: frame, cause: "lost its links to other hosts")
        case .interrupted:
            return RunFailure(.refused, host: hostName, frame: frame, cause: "was told to end")
        case .protocolError(let peer, let cause):
            return RunFailure(
                .protocolError, host: peerName(peer), frame: frame, cause: "\(cause) (host \(hostName) says so)")
        case .silent(let peer, let seconds):
            return RunFailure(
                .timeout, host: peerName(peer), frame: frame,
                cause: "has not sent its values within \(SignalValue.text(seconds)) s")
        case .unreachable(let peer):
            var failure = RunFailure(
                .lost, host: hostName, frame: frame, cause: "lost its link to host \(peerName(peer))")
            failure.peer = peerName(peer)
            return failure
        }
    }

    func peerName(_ index: Int) -> String { (plan?.hosts[index] ?? nil) ?? "desk" }

    /// The reason travels by FIFO, ahead of the status: it is there or about to be.
    func reason(of index: Int) -> String {
        supervisor!.records.wait(until: deadline(after: 0.2)) { $0[Int(self.processes[index]!.id)].stepReason } ?? ""
    }

    func lost(_ index: Int, frame: UInt64?) -> RunFailure {
        if isAbandoned { return abandoned(frame) }
        lifecycles.with { _ = $0[index].handle(.fail) }
        let seen = record(index) { $0 }
        if let rubbish = seen.rubbish { return failure(.protocolError, index, rubbish, frame: frame) }
        if let code = seen.launchError { return failure(.launch, index, startWords(index, code), frame: frame) }
        let status = seen.exitStatus ?? 0
        let number = keeper_status_signal(status)
        if number != 0 {
            return failure(.signal, index, "ended by \(signalWords(number))", frame: frame)
        }
        // One that finds its segment gone reaches its safe state and ends.
        if status == 0, segment?.damage != nil { return segmentFailure(nil, frame: frame) }
        let before = seen.announcement == nil && !seen.isFree ? " before it announced its signals" : ""
        return failure(
            .exit, index, "exited with code \(keeper_status_code(status))\(before)\(hint(index, status))", frame: frame)
    }

    /// Why a process could not be started.
    private func startWords(_ index: Int, _ code: Int32) -> String {
        guard let launch = try? launchOf(processes[index]!, index), let path = launch.arguments.first else {
            return "can't be started: \(simulation.modules[index].program): \(SystemError.startReason(code))"
        }
        let reason = ProgramFile(path).reason(code, directory: launch.directory)
        return "can't be started: \(path): \(reason)"
    }

    /// What a script's own words about a missing command don't tell.
    private func hint(_ index: Int, _ status: Int32) -> String {
        let program = simulation.modules[index].program
        guard [126, 127].contains(keeper_status_code(status)), ProgramFile(program).hasCarriageReturn else { return "" }
        return "; its first line ends in CR LF, as editors on Windows write it: sed -i 's/\\r$//' \(program)"
    }

    func abandoned(_ frame: UInt64?) -> RunFailure {
        RunFailure(.refused, frame: frame, cause: "interrupted while waiting for modules")
    }

    func callFailure(_ index: Int, _ call: String, _ status: Int32, _ reason: String) -> RunFailure {
        lifecycles.with { _ = $0[index].handle(.fail) }
        return failure(.status, index, "\(call) returned \(status)\(Self.because(reason, call))")
    }

    func timeoutFailure(_ index: Int, _ seconds: Double, frame: UInt64) -> RunFailure {
        failure(.timeout, index, "did not finish its step within \(SignalValue.text(seconds)) s", frame: frame)
    }

    func statusFailure(_ index: Int, _ status: Int32, _ reason: String, frame: UInt64) -> RunFailure {
        lifecycles.with { _ = $0[index].handle(.fail) }
        return failure(
            .status, index, "step returned \(status)\(Self.because(reason, "step"))", frame: frame)
    }

    /// What the module said of its status; one that says nothing may have none: a C function that ends without `return`.
    private static func because(_ reason: String, _ call: String) -> String {
        reason.isEmpty
            ? " and gave no reason; if it did not mean to fail, let \(call) end with `return 0`" : ": \(reason)"
    }

    func failure(_ code: RunFailure.Code, _ index: Int, _ cause: String, frame: UInt64? = nil) -> RunFailure {
        let lines = processes[index] == nil || supervisor == nil ? [] : record(index) { Array($0.lastLines.suffix(4)) }
        return RunFailure(
            code, module: simulation.modules[index].name, host: hostName, frame: frame, cause: cause,
            lastLines: lines)
    }
}
