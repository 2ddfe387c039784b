import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

/// A host's `hermes-node`: answers at its endpoint, and starts a process of its own for each run (`RunWorker`), so that
/// no simulation touches another. One thread, asleep while nobody says anything.
public final class NodeAgent {
    /// Messages that are answered before everything else has its turn again, however many there are.
    private static let mostAtOnce = 100
    let settings: Settings
    let root: ModuleRoot
    private let context: MessageContext
    let listener: NodeListener
    let log: NodeLog
    let notifier = ServiceNotifier()
    let errands: Errands
    var runs: [Run] = []
    /// Of runs whose process was killed.
    var keepers: [RunKeeper] = []
    let outbox: Outbox
    private var rubbishTold = 0
    var oldCoordinators = Tally()

    /// - Throws: `RunFailure` or `TransportError` when the module root or the endpoint can't be had.
    public init(_ settings: Settings, log: NodeLog) throws {
        self.settings = settings
        self.log = log
        let root = try ModuleRoot(settings.root)
        self.root = root
        context = try MessageContext()
        errands = try Errands(
            files: ModuleFiles(root: root, allowsPush: settings.allowsPush, log: log),
            findings: { isWanted in
                let ports = settings.endpoint.hasPrefix("tcp://") ? [PortChecks.runs(settings.ports)] : []
                return Checkup.findings(program: "hermes-node", isWanted: isWanted) + ports
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
        if settings.endpoint.hasPrefix("ipc://") { try SocketFile.clear(settings.endpoint.dropFirst(6)) }
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
            let lost = listener.takeLost()
            endRuns(of: lost)
            for caller in lost { errands.forget(caller) }
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
        if !keepers.isEmpty || runs.contains(where: { $0.limit != nil }) { return 50 }
        return notifier.watchdogMilliseconds ?? -1
    }

    var status: String {
        runs.isEmpty ? "no simulation" : "running " + runs.map(\.name).joined(separator: ", ")
    }

    func end() {
        notifier.tell("STOPPING=1")
        if !runs.isEmpty { log.note("ending \(runs.map(\.name).joined(separator: ", "))") }
        for index in runs.indices { end(index, cause: "its hermes-node was told to end") }
        let limit = deadline(after: 6)
        while !(runs.isEmpty && keepers.isEmpty) && monotonicNow() < limit {
            _ = listener.sleep(watching: runs.filter { !$0.isGone }.map(\.process.channel.descriptor), milliseconds: 20)
            for index in runs.indices where !runs[index].isGone { hear(index) }
            // Read, so that the socket is not ready for ever; of what coordinators say the end of runs alone matters now.
            for _ in 0..<Self.mostAtOnce {
                guard let (caller, message) = listener.next() else { break }
                if message.say == "ping" || message.say == "end" { answer(message, caller) }
            }
            _ = listener.takeLost()
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
}
