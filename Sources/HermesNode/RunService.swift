import CKeeper
import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport
import Synchronization

/// Does what a run's coordinator says. Three threads: one runs the frames and owns the link, one watches the link's
/// connections, and the main thread listens to the node.
final class RunService: @unchecked Sendable {
    /// Seconds in which the coordinator must have found its way here.
    private static let meetingSeconds = 15.0
    /// Seconds for links and streams; a peer begins with the streams when it has its links, or says within 6 s which is
    /// missing.
    static let setUpSeconds = 8.0
    /// Index of the coordinator among the participants.
    static let coordinator = 0

    let order: WorkerOrder
    let channel: LineChannel
    let lines: ModuleLines
    let folder: RunFolder
    private let context: MessageContext
    let entrance: RunEntrance
    let link: RunLink
    /// Nil when mirrors go over the link.
    var streams: MirrorStreams?
    let alarm: Alarm
    private let isOver: Alarm
    let processKeeper: keeper
    let lostPeer = Mutex<Int?>(nil)
    let isToldToEnd = Atomic<Bool>(false)
    /// Why the node ends this run.
    let endCause = Mutex<String?>(nil)
    private var threads: [pthread_t] = []
    var hasEnded = false
    var hostNames: [String] = []
    var node: EmbeddedNode?
    /// The node, for the other threads.
    let shared = Mutex<UncheckedNode?>(nil)
    var frameUnderWay: UInt64?
    var collected: [Int] = []
    var rows: [UInt64] = []
    var attentionSeen: UInt32 = 0
    var stage = Stage.met

    /// How far the coordinator has led this run.
    enum Stage: Int, Comparable {
        case met, linked, launched, prepared, staged

        static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }
    }
    var isPrepared: Bool { stage >= .prepared }

    struct UncheckedNode: @unchecked Sendable { let node: EmbeddedNode }

    init(_ order: WorkerOrder, channel: LineChannel, keeper processKeeper: inout keeper) throws {
        self.order = order
        self.channel = channel
        lines = ModuleLines(run: order.open.run, host: order.open.host, channel: channel)
        alarm = try Alarm()
        isOver = try Alarm()
        folder = try RunFolder(
            name: "\(order.open.simulation).\(order.open.host)", host: order.open.host,
            waitingSeconds: order.nameSeconds)
        self.processKeeper = processKeeper
        do {
            context = try MessageContext()
            entrance = try RunEntrance(order, in: context, alarm: alarm, folder: folder, channel: channel)
        } catch {
            folder.remove()
            throw error
        }
        link = entrance.link
        if let path = order.path { keeper_register(&processKeeper, Int32(KEEPER_UNLINK), path.cString) }
    }

    // MARK: Threads

    /// Starts the two threads beside the main one.
    /// - Throws: `SystemError` when one can't be had; then nothing of the run is left.
    func start() throws(SystemError) {
        do throws(SystemError) {
            threads.append(
                try startThread("the links of the run") { [self] in
                    link.watchConnections(stop: isOver) { peer in
                        lostPeer.withLock { $0 = $0 ?? peer }
                        interrupt()
                    }
                })
            threads.append(
                try startThread("the frames") { [self] in
                    follow()
                    isOver.raise()
                })
        } catch {
            isOver.raise()
            end()
            close()
            throw error
        }
    }

    /// Until the run is over. Call once, after `start`.
    func serve() {
        listenToNode()
        close()
    }

    private func close() {
        for thread in threads { pthread_join(thread, nil) }
        streams?.close()
        entrance.door.close()
        link.close(lingers: true)
        context.close()
        if let path = order.path { unlink(path.cString) }
        lines.finish()
    }

    /// Until the run is over: the node says `end`, or is gone.
    private func listenToNode() {
        var isNodeThere = true
        while !isOver.isRaised {
            var watched = [
                pollfd(fd: isOver.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isNodeThere ? channel.descriptor : -1, events: Int16(POLLIN), revents: 0),
            ]
            do {
                try pollDescriptors(&watched, milliseconds: -1)
            } catch {
                endCause.withLock { $0 = "\(error)" }
                return interrupt()
            }
            guard watched[1].revents != 0 else { continue }
            let messages = channel.receive()
            isNodeThere = messages != nil
            let end = messages?.first { $0.say == "end" }
            if isNodeThere && end == nil { continue }
            isToldToEnd.store(true, ordering: .relaxed)
            let cause = isNodeThere ? end?.body(EndRun.self)?.cause : "its hermes-node is gone"
            if let cause { endCause.withLock { $0 = cause } }
            interrupt()
        }
    }

    /// Gives up whatever is being waited for; the run ends. From any thread.
    private func interrupt() {
        alarm.raise()
        shared.withLock { $0 }?.node.abandon()
    }

    // MARK: The coordinator's words

    private func follow() {
        defer { end() }
        do {
            guard try link.awaitWord(until: deadline(after: Self.meetingSeconds)) else { return }
            while true {
                guard let word = try link.nextWord(until: monotonicNow() + 50_000_000) else {
                    try attend()
                    continue
                }
                guard word.peer == Self.coordinator else { continue }
                switch word.header.kind {
                case .step: try run(word.header)
                case .sample: try answer(sample: word.header, word.payload)
                case .write: try take(write: word.header, word.payload)
                case .control:
                    guard let message = ControlMessage(word.payload) else { continue }
                    if try !handle(message) { return }
                default: continue
                }
            }
        } catch let failure as RunFailure {
            report(failure)
        } catch let fault as LinkFault {
            if wasDismissed(after: fault) { return }
            report(describe(fault) as? RunFailure ?? RunFailure(.protocolError, cause: "\(fault)"))
        } catch {
            report(RunFailure(.protocolError, cause: "\(error)"))
        }
    }

    func answer(_ question: ControlMessage, _ say: String = "ok") throws {
        try link.send(ControlMessage(say, id: question.id), to: Self.coordinator)
    }

    /// False when the run is over.
    func handle(_ message: ControlMessage) throws -> Bool {
        try checkOrder(message.say)
        switch message.say {
        case "setup":
            try setUp(try body(message))
            stage = .linked
            try answer(message)
        case "launch":
            let announced = Announced(try launch(try body(message)))
            stage = .launched
            try link.send(ControlMessage("announced", id: message.id, announced), to: Self.coordinator)
        case "prepare":
            try prepare(try body(message))
            stage = .prepared
            try answer(message)
        case "stage":
            try node!.stage(overrides: try values(message))
            attentionSeen = node!.attention &- 1
            stage = .staged
            if node!.realtime != nil {
                try link.send(ControlMessage("applied", node!.keepTime()), to: Self.coordinator)
            }
            try sendStart()
        case "reset":
            try node!.reset()
            try sendStart()
        case "show":
            let state: ShowState = try body(message)
            node!.show(state.isPaused ? .paused : .running)
        case "write":
            let values: StartValues = try body(message)
            try write(values.slots, values.bits)
        case "sample":
            let wanted: StartValues = try body(message)
            let values = StartValues(slots: wanted.slots, bits: try sample(wanted.slots).bits)
            try link.send(ControlMessage("values", id: message.id, values), to: Self.coordinator)
        case "terminate":
            let how: Terminate = try body(message)
            end(hurried: how.hurried, tellsTimes: how.wantsTimes == true)
            try? answer(message)
            return false
        default:
            throw RunFailure(.protocolError, cause: "does not know '\(message.say)'; upgrade its hermes-node")
        }
        return true
    }

    /// What is said before its time, or twice, can't be carried out.
    func checkOrder(_ say: String) throws {
        // ASCII
        let begins: [String: Stage] = ["setup": .met, "launch": .linked, "prepare": .launched, "stage": .prepared]
        let isInOrder =
            if let due = begins[say] {
                stage == due
            } else {
                stage == .staged || !["reset", "show", "write", "sample"].contains(say)
            }
        guard isInOrder else { throw RunFailure(.protocolError, cause: "was told '\(say)' out of order") }
    }

    private func body<Body: MessageBody>(_ message: ControlMessage) throws -> Body {
        do throws(UnsoundMessage) {
            return try message.read()
        } catch {
            throw RunFailure(.protocolError, cause: "was told what it can't do: \(error)")
        }
    }

    /// Values for signals of this host.
    private func values(_ message: ControlMessage) throws -> [(slot: Int, bits: UInt64)] {
        let values: StartValues = try body(message)
        guard values.bits.count == values.slots.count, values.slots.allSatisfy((0..<node!.signalCount).contains) else {
            throw RunFailure(
                .protocolError, cause: "was told by '\(message.say)' of a value for a signal that is not there")
        }
        return zip(values.slots, values.bits).map { (slot: $0, bits: $1) }
    }
}
