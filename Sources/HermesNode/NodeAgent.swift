import CKeeper
import Glibc
import HermesModel
import HermesProtocol
import HermesTransport

/// A host's `hermes-node`: answers at its endpoint, and starts a process of its own for each run (`RunWorker`), so that
/// no simulation touches another. One thread, asleep while nobody says anything.
public final class NodeAgent {
    public struct Settings: Sendable {
        /// `tcp://ADDRESS:PORT` or `ipc://PATH`.
        public var endpoint: String
        /// Where runs listen: each takes one.
        public var ports: ClosedRange<Int>
        public var root: String
        public var keys: CurveKeys?
        /// Tells whether a coordinator with this public key may speak here.
        public var accepts: @Sendable (_ publicKey: String) -> Bool
        public var allowsInproc: Bool
        public var allowsPush: Bool
        public var version: String
        public var pythonPath: String?
        public var library: String?

        public init(
            endpoint: String, ports: ClosedRange<Int>, root: String, keys: CurveKeys?,
            accepts: @escaping @Sendable (String) -> Bool, allowsInproc: Bool, allowsPush: Bool, version: String,
            pythonPath: String?, library: String?
        ) {
            self.endpoint = endpoint
            self.ports = ports
            self.root = root
            self.keys = keys
            self.accepts = accepts
            self.allowsInproc = allowsInproc
            self.allowsPush = allowsPush
            self.version = version
            self.pythonPath = pythonPath
            self.library = library
        }
    }

    private struct Run {
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
    }
    /// Seconds a run has to end; its modules take no more than their own ladder of time-outs.
    private static let endingSeconds = 4.5
    /// Messages that are answered before everything else has its turn again, however many there are.
    private static let mostAtOnce = 100
    /// Runs at a time where no ports set the limit.
    private static let mostBesideSocket = 99

    private let settings: Settings
    private let root: ModuleRoot
    private let context = MessageContext()
    private let listener: NodeListener
    private let log: NodeLog
    private let notifier = ServiceNotifier()
    private let errands: Errands
    private var runs: [Run] = []
    private let outbox: Outbox
    private var rubbishTold = 0
    private var oldCoordinators = Tally()

    /// - Throws: `RunFailure` or `TransportError` when the module root or the endpoint can't be had.
    public init(_ settings: Settings, log: NodeLog) throws {
        self.settings = settings
        self.log = log
        let root = try ModuleRoot(settings.root)
        self.root = root
        errands = Errands(
            files: ModuleFiles(root: root, allowsPush: settings.allowsPush, log: log),
            findings: {
                let ports = settings.endpoint.hasPrefix("tcp://") ? [PortChecks.runs(settings.ports)] : []
                return Checkup.findings(program: "hermes-node") + ports
                    + ModuleRootChecks.findings(of: root, allowsPush: settings.allowsPush)
            })
        if settings.keys != nil {
            let accepts = settings.accepts
            let refused = RefusedCallers()
            try Authenticator.start(in: context, .curve(accepts: accepts)) { address, key in
                let key = key ?? "(none)"
                guard let times = refused.add("\(address) \(key)") else { return }
                log.warning("refused \(address): the key \(key) is not among the accepted ones\(times)")
            }
        }
        if settings.endpoint.hasPrefix("ipc://") { try SocketFile.clear(String(settings.endpoint.dropFirst(6))) }
        let before = umask(0o177)
        defer { umask(before) }
        do {
            listener = try NodeListener(context, endpoint: settings.endpoint, keys: settings.keys)
        } catch let error as TransportError where error.code == EADDRINUSE {
            throw RunFailure(
                .refused,
                cause:
                    "\(settings.endpoint) is taken, most likely by another hermes-node; end that one or listen elsewhere"
            )
        } catch let error as TransportError where error.code == ENODEV || error.code == EADDRNOTAVAIL {
            throw RunFailure(
                .refused, cause: "\(settings.endpoint) is no address of this machine; give one of its own, in numbers")
        }
        outbox = Outbox(listener)
    }

    /// Until SIGINT or SIGTERM; then every run's modules are terminated.
    /// - Parameter signals: readable when one of them came.
    public func serve(signals: Int32) {
        RunFolder.sweep()
        log.note(
            "listening on \(settings.endpoint), \(places), "
                + "modules beneath \(root.path), \(settings.keys == nil ? "without keys" : "with keys")")
        notifier.tell("READY=1\nSTATUS=\(status)")
        while true {
            let descriptors =
                [signals, errands.descriptor] + runs.filter { !$0.isGone }.map(\.process.channel.descriptor)
            let ready = listener.sleep(watching: descriptors, milliseconds: pause)
            notifier.feedWatchdog()
            if ready.contains(signals) { break }
            for index in runs.indices where ready.contains(runs[index].process.channel.descriptor) { hear(index) }
            outbox.retry()
            for (answer, caller) in errands.takeAnswers() { outbox.send(answer, to: caller) }
            for _ in 0..<Self.mostAtOnce {
                guard let (caller, message) = listener.next() else { break }
                answer(message, caller)
            }
            endFrozen()
            reap()
            tellRubbish()
        }
        end()
    }

    private var places: String {
        settings.endpoint.hasPrefix("ipc://")
            ? "runs beside it" : "runs on ports \(settings.ports.lowerBound) to \(settings.ports.upperBound)"
    }

    /// Milliseconds to the next thing that is due by itself; -1 for never.
    private var pause: Int {
        if runs.contains(where: \.isGone) || !outbox.isEmpty { return 5 }
        if runs.contains(where: { $0.limit != nil }) { return 100 }
        return notifier.watchdogMilliseconds ?? -1
    }

    private var status: String {
        runs.isEmpty ? "no simulation" : "running " + runs.map(\.name).joined(separator: ", ")
    }

    private func end() {
        notifier.tell("STOPPING=1")
        if !runs.isEmpty { log.note("ending \(runs.map(\.name).joined(separator: ", "))") }
        for index in runs.indices { end(index, cause: "its hermes-node was told to end") }
        let limit = deadline(after: 6)
        while !runs.isEmpty && monotonicNow() < limit {
            _ = listener.sleep(watching: runs.filter { !$0.isGone }.map(\.process.channel.descriptor), milliseconds: 20)
            for index in runs.indices where !runs[index].isGone { hear(index) }
            outbox.retry()
            endFrozen()
            reap()
        }
        errands.close()
        listener.close()
        context.close()
        log.note("ended")
    }

    /// Counted, and told the first time and then whenever there is ten times as much.
    private func tellRubbish() {
        guard listener.rubbish >= max(1, rubbishTold * 10) else { return }
        rubbishTold = listener.rubbish
        log.warning(
            "dropped \(rubbishTold) connection\(rubbishTold == 1 ? "" : "s") or messages that were none of Hermes: another key, "
                + "no key, or somebody who speaks something else")
    }

    // MARK: Coordinators

    private func answer(_ message: ControlMessage, _ caller: NodeListener.Caller) {
        do {
            switch message.say {
            case "hello": try welcome(message, caller)
            case "ping":
                let pong = Pong(
                    clockNanoseconds: ThisMachine.clockNanoseconds, monotonicNanoseconds: monotonicNow())
                outbox.send(try ControlMessage("pong", id: message.id, pong), to: caller)
            case let question where Errands.questions.contains(question):
                try errands.add(message, from: caller)
            case "open": try open(message, caller)
            case "end":
                guard let body = message.body(EndRun.self) else { break }
                let known = runs.indices.filter { runs[$0].id == body.run }
                for index in known { end(index, cause: body.cause) }
                // One that was refused or is over: the coordinator need not wait for it.
                if known.isEmpty { outbox.tell("gone", GoneRun(run: body.run, cause: nil), to: caller) }
            default:
                throw Refused("this node, version \(settings.version), does not know '\(message.say)'; upgrade it")
            }
        } catch {
            guard message.id != 0 else { return }
            let refused = error as? Refused ?? Refused("\(error)")
            if let reply = try? ControlMessage("refused", id: message.id, refused) { outbox.send(reply, to: caller) }
        }
    }

    private func welcome(_ message: ControlMessage, _ caller: NodeListener.Caller) throws {
        guard let hello = message.body(Hello.self) else { throw Refused("this hello can't be read") }
        let welcome = Welcome(
            version: settings.version, protocolVersion: protocolVersion, oldestProtocol: oldestProtocolVersion,
            clockNanoseconds: ThisMachine.clockNanoseconds, cores: ThisMachine.cores, memory: ThisMachine.memory,
            machine: ThisMachine.machine, running: runs.map(\.name))
        if hello.protocolVersion < oldestProtocolVersion, oldCoordinators.add() {
            log.warning(
                "a coordinator of version \(hello.version) is too old for this node; upgrade it\(oldCoordinators.times)"
            )
        }
        outbox.send(try ControlMessage("welcome", id: message.id, welcome), to: caller)
    }

    private func open(_ message: ControlMessage, _ caller: NodeListener.Caller) throws {
        guard let open = message.body(OpenRun.self), Self.isName(open.simulation), Self.isName(open.host),
            (2...4096).contains(open.participants), (1..<open.participants).contains(open.index),
            (0.1...3600).contains(open.livenessSeconds), open.security.isSound(participants: open.participants)
        else { throw Refused("this open can't be read") }
        // Behind a dead one a living one may wait for the name.
        reap()
        if runs.contains(where: { $0.name == open.simulation && $0.ending == nil && !$0.isGone }) {
            throw Refused(
                "a simulation named '\(open.simulation)' already runs there; end it where it was started, or start this one "
                    + "under another --name")
        }
        let isBesideSocket = settings.endpoint.hasPrefix("ipc://")
        guard runs.count < (isBesideSocket ? Self.mostBesideSocket : settings.ports.count) else {
            throw Refused(
                isBesideSocket
                    ? "\(runs.count) simulations run there, and no more may"
                    : "every port from \(settings.ports.lowerBound) to \(settings.ports.upperBound) is taken; widen --ports"
            )
        }
        let process = try WorkerProcess()
        process.channel.say(
            "work",
            WorkerOrder(
                open: open, root: root.path, addresses: addresses(open), firstPort: settings.ports.lowerBound,
                lastPort: settings.ports.upperBound, path: path(open), allowsInproc: settings.allowsInproc,
                pythonPath: settings.pythonPath, library: settings.library))
        runs.append(
            Run(
                process: process, name: open.simulation, id: open.run, owner: caller, host: open.host,
                question: message.id))
        notifier.tell("STATUS=\(status)")
    }

    private static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
                    || $0 == UInt8(ascii: "-")
            }
    }

    private func addresses(_ open: OpenRun) -> [String] {
        guard let own = TCPEndpoint(settings.endpoint)?.host else { return [] }
        let isEverywhere = own == "*" || own == "0.0.0.0" || own == "[::]"
        guard let mirror = open.mirrorAddress.flatMap({ TCPEndpoint($0)?.host }), !isEverywhere, mirror != own else {
            return [own]
        }
        return [own, mirror]
    }

    private func path(_ open: OpenRun) -> String? {
        guard settings.endpoint.hasPrefix("ipc://") else { return nil }
        return "\(settings.endpoint.dropFirst(6)).\(String(open.run, radix: 36))"
    }

    // MARK: Runs

    private func hear(_ index: Int) {
        guard !runs[index].isGone else { return }
        guard let messages = runs[index].process.channel.receive() else {
            runs[index].isGone = true
            return
        }
        for message in messages {
            let run = runs[index]
            switch message.say {
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

    private func end(_ index: Int, cause: String?) {
        runs[index].process.channel.say("end", EndRun(run: runs[index].id, cause: cause))
        runs[index].limit = runs[index].limit ?? deadline(after: Self.endingSeconds)
    }

    /// A process that does not end is stopped or hangs; its keeper gives the modules their second when it is gone.
    private func endFrozen() {
        for run in runs {
            guard let limit = run.limit, monotonicNow() > limit, !run.isGone else { continue }
            log.warning("\(run.name): process \(run.process.pid) does not end; killed")
            kill(run.process.pid, SIGKILL)
        }
    }

    private func reply<Body: Codable>(_ index: Int, _ say: String, _ body: Body) {
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

    private func reap() {
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
            // What a process that was killed left behind.
            if status != 0 { RunFolder.sweep() }
        }
    }
}
