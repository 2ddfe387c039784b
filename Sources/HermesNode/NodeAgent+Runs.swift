import CKeeper
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

// The processes of the runs on this host: what they say, and how they end.

extension NodeAgent {
    struct Run {
        let process: WorkerProcess
        let name: String
        let id: UInt64
        let owner: NodeListener.Caller
        /// What its configuration calls this host.
        let host: String
        /// Of what its modules printed, since it was told last.
        var droppedLines = 0
        var notice: SaidLine { ModuleLines.notice(droppedLines, host: host, run: id) }
        /// The number of the question that opened it, until it is answered.
        var question: Int?
        var ending: String?
        /// When it must have ended, once it was told to.
        var limit: UInt64?
        var isGone = false
        /// Ends what the process leaves when it is killed.
        var keeper: RunKeeper?
        var isEnding: Bool { ending != nil || limit != nil || isGone }
    }

    /// Seconds a run has to end; its modules take no more than their own ladder of time-outs.
    private static let endingSeconds = 4.5

    func hear(_ index: Int) {
        guard !runs[index].isGone else { return }
        guard let messages = runs[index].process.channel.receive() else {
            runs[index].isGone = true
            return
        }
        for message in messages {
            let run = runs[index]
            switch message.say {
            case "keeper":
                guard let keeper = message.body(KeeperProcess.self) else { continue }
                runs[index].keeper = RunKeeper(keeper.pid, runName: run.name)
            case "opened":
                guard let opened = message.body(OpenedRun.self) else { continue }
                let place = opened.port.map { "port \($0)" } ?? opened.path ?? ""
                log.note("\(run.name): a run begins on \(place), process \(run.process.pid)")
                reply(index, "opened", opened)
            case "refused":
                guard let refused = message.body(Refused.self) else { continue }
                log.note("\(run.name): refused: \(refused.cause)")
                reply(index, "refused", refused)
            case "line":
                guard let line = message.body(SaidLine.self) else { continue }
                log.detail("\(run.name)\(line.module.map { ".\($0)" } ?? ""): \(line.text)")
                if line.module == nil { outbox.tell("line", line, to: run.owner) } else { pass(line, of: index) }
            case "fired":
                guard let error = message.body(ModuleError.self) else { continue }
                log.note(
                    "\(run.name): module \(error.module) failed at frame \(error.frame) and is \(error.action.rawValue): "
                        + error.cause)
            case "ending":
                guard let why = message.body(Refused.self) else { continue }
                runs[index].ending = why.cause
                log.note("\(run.name): the run ends: \(why.cause)")
            case "stuck":
                guard let failure = message.body(RunFailure.self) else { continue }
                log.note("\(run.name): \(failure)")
                runs[index].ending = failure.description
                outbox.tell("stuck", failure, to: run.owner)
            default: continue
            }
        }
    }

    /// A run is its coordinator's, and no one's once that is gone.
    func endRuns(of lost: Set<NodeListener.Caller>) {
        for index in runs.indices where lost.contains(runs[index].owner) { end(index, cause: "lost the coordinator") }
    }

    func end(_ index: Int, cause: String?) {
        runs[index].process.channel.say("end", EndRun(run: runs[index].id, cause: cause))
        // One that is stopped can't hear it.
        kill(runs[index].process.pid, SIGCONT)
        runs[index].limit = runs[index].limit ?? deadline(after: Self.endingSeconds)
    }

    /// A process that does not end is stopped or hangs; its keeper gives the modules their second when it is gone.
    func endFrozen() {
        for run in runs {
            guard let limit = run.limit, monotonicNow() > limit, !run.isGone else { continue }
            log.warning("\(run.name): process \(run.process.pid) does not end; killed")
            kill(run.process.pid, SIGKILL)
        }
    }

    func reply<Body: MessageBody>(_ index: Int, _ say: String, _ body: Body) {
        guard let question = runs[index].question, let message = try? ControlMessage(say, id: question, body) else {
            return
        }
        outbox.send(message, to: runs[index].owner)
        runs[index].question = nil
    }

    /// What a module printed: dropped, and counted, where the coordinator does not take it fast enough.
    private func pass(_ line: SaidLine, of index: Int) {
        let run = runs[index]
        if run.droppedLines > 0, outbox.offer("line", run.notice, to: run.owner) {
            runs[index].droppedLines = 0
        }
        if runs[index].droppedLines > 0 || !outbox.offer("line", line, to: run.owner) { runs[index].droppedLines += 1 }
    }

    private static func words(of status: Int32) -> String {
        let number = keeper_status_signal(status)
        return number != 0 ? "ended by \(signalWords(number))" : "exited with code \(keeper_status_code(status))"
    }

    func reap() {
        for index in runs.indices.reversed() where runs[index].isGone {
            guard let status = runs[index].process.reap() else { continue }
            let run = runs.remove(at: index)
            let cause = status == 0 ? nil : run.ending ?? "its process \(Self.words(of: status))"
            if run.question != nil,
                let message = try? ControlMessage(
                    "refused", id: run.question!, Refused("can't begin a run: \(cause ?? "")"))
            {
                outbox.send(message, to: run.owner)
            }
            log.note("\(run.name): the run is over\(cause.map { ": \($0)" } ?? "")")
            if run.droppedLines > 0 { outbox.tell("line", run.notice, to: run.owner) }
            outbox.tell("gone", GoneRun(run: run.id, cause: cause), to: run.owner)
            notifier.tell("STATUS=\(self.status)")
            guard status != 0 else { continue }
            // What a process that was killed left behind, its keeper clears up first.
            if let keeper = run.keeper {
                keeper.beginEnd()
                keepers.append(keeper)
            } else {
                RunFolder.sweep()
            }
        }
        let known = keepers.count
        keepers.removeAll { $0.hasEnded() }
        if keepers.count < known { RunFolder.sweep() }
    }
}
