import CKeeper
import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesTransport
import Synchronization

/// Does what a run's coordinator says. Three threads: one runs the frames and owns the link, one watches the link's
/// connections, and the main thread listens to the node.
final class RunService: @unchecked Sendable {
    /// Seconds in which the coordinator must have found its way here.
    private static let meetingSeconds = 15.0
    /// Seconds for links and streams; a peer begins with the streams when it has its links, or says within 6 s which is
    /// missing.
    private static let setUpSeconds = 8.0
    /// Index of the coordinator among the participants.
    private static let coordinator = 0

    let opened: OpenedRun
    private let order: WorkerOrder
    private let channel: LineChannel
    private let lines: ModuleLines
    private let folder: RunFolder
    private let context: MessageContext
    private let link: RunLink
    /// Nil when mirrors go over the link.
    private var streams: MirrorStreams?
    private let door: StreamDoor
    private let refusedCallers: RefusedCallers
    private let alarm = Alarm()
    private let isOver = Alarm()
    private let processKeeper: keeper
    private let lostPeer = Mutex<Int?>(nil)
    private let isToldToEnd = Atomic<Bool>(false)
    /// Why the node ends this run.
    private let endCause = Mutex<String?>(nil)
    private var hostNames: [String] = []
    private var node: EmbeddedNode?
    /// The node, for the other threads.
    private let shared = Mutex<UncheckedNode?>(nil)
    private var frameUnderWay: UInt64?
    private var collected: [Int] = []
    private var rows: [UInt64] = []
    private var attentionSeen: UInt32 = 0
    private var stage = Stage.met

    /// How far the coordinator has led this run.
    private enum Stage: Int, Comparable {
        case met, linked, launched, prepared, staged

        static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }
    }
    private var isPrepared: Bool { stage >= .prepared }

    private struct UncheckedNode: @unchecked Sendable { let node: EmbeddedNode }

    init(_ order: WorkerOrder, channel: LineChannel, keeper processKeeper: inout keeper) throws {
        self.order = order
        self.channel = channel
        lines = ModuleLines(run: order.open.run, host: order.open.host, channel: channel)
        let open = order.open
        folder = try RunFolder(name: "\(open.simulation).\(open.host)", host: open.host)
        self.processKeeper = processKeeper
        context = MessageContext()
        do {
            refusedCallers = RefusedCallers()
            (link, opened, door) = try Self.makeLink(order, context, alarm, channel, refusedCallers, folder)
        } catch {
            folder.remove()
            throw error
        }
        if let path = order.path { keeper_register(&processKeeper, Int32(KEEPER_UNLINK), path) }
    }

    private static func makeLink(
        _ order: WorkerOrder, _ context: MessageContext, _ alarm: Alarm, _ channel: LineChannel,
        _ refused: RefusedCallers, _ folder: RunFolder
    ) throws -> (RunLink, OpenedRun, StreamDoor) {
        let open = order.open
        let keys = open.security.participants
        let policy: Authenticator.Policy =
            keys.map { keys in .curve { keys.contains($0) } } ?? .plain(password: open.security.token)
        try Authenticator.start(in: context, policy) { address, _ in
            tell(refused: address, refused, channel, open)
        }
        let link = try RunLink(
            context, run: open.run, index: open.index, participants: open.participants, security: open.security,
            livenessSeconds: open.livenessSeconds, alarm: alarm)
        var opened = try listen(link, order)
        let door = StreamDoor()
        if open.wantsStreams == true {
            do {
                if order.path == nil {
                    try onFreePort(order) { try door.listen(addresses: order.addresses, port: $0) }
                }
                door.listen(path: "\(folder.path)/mirror.sock")
                opened.streams = StreamPlace(port: door.port, path: door.path, machine: MachineIdentity.own)
            } catch let error as TransportError where error.code == EADDRNOTAVAIL {
                // The name of an interface, say, which ZeroMQ takes: mirrors go over the link.
            }
        }
        return (link, opened, door)
    }

    private static func tell(
        refused address: String, _ callers: RefusedCallers, _ channel: LineChannel, _ open: OpenRun
    ) {
        guard let times = callers.add(address) else { return }
        let text = "host \(open.host) refused somebody at \(address) on this run's port\(times)"
        channel.say("line", SaidLine(run: open.run, module: nil, text: text))
    }

    private static func listen(_ link: RunLink, _ order: WorkerOrder) throws -> OpenedRun {
        if let path = order.path {
            // Others of this machine may not connect, whatever they guess.
            let before = umask(0o177)
            defer { umask(before) }
            try link.listen(on: ["ipc://\(path)"])
            return OpenedRun(port: nil, path: path)
        }
        let port = try onFreePort(order) { port in
            try link.listen(on: order.addresses.map { "tcp://\($0):\(port)" })
        }
        return OpenedRun(port: port, path: nil)
    }

    /// The first port of the range that is free at every address.
    @discardableResult
    private static func onFreePort(_ order: WorkerOrder, _ listen: (Int) throws -> Void) throws -> Int {
        // Where ports are many, runs that start side by side do not try the same ones.
        let count = order.lastPort - order.firstPort + 1
        let start = Int(order.open.run % UInt64(max(count, 1)))
        for attempt in 0..<count {
            let port = order.firstPort + (start + attempt) % count
            do {
                try listen(port)
                return port
            } catch let error as TransportError where error.code == EADDRINUSE {
                continue
            }
        }
        throw RunFailure(
            .resource, host: order.open.host,
            cause: "every port from \(order.firstPort) to \(order.lastPort) is taken (a run has two while it is made); "
                + "widen --ports")
    }

    // MARK: Threads

    func serve() {
        let watching = startThread { [self] in
            link.watchConnections(stop: isOver) { peer in
                lostPeer.withLock { $0 = $0 ?? peer }
                interrupt()
            }
        }
        let frames = startThread { [self] in
            follow()
            isOver.raise()
        }
        listenToNode()
        pthread_join(frames, nil)
        pthread_join(watching, nil)
        streams?.close()
        door.close()
        link.close(lingers: true)
        context.close()
        if let path = order.path { unlink(path) }
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
            _ = Glibc.poll(&watched, 2, -1)
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
                case .control:
                    guard let message = ControlMessage(word.payload) else { continue }
                    if try !handle(message) { return }
                default: continue
                }
            }
        } catch let failure as RunFailure {
            report(failure)
        } catch let fault as LinkFault {
            report(describe(fault) as? RunFailure ?? RunFailure(.protocolError, cause: "\(fault)"))
        } catch {
            report(RunFailure(.protocolError, cause: "\(error)"))
        }
    }

    private func describe(_ fault: LinkFault) -> any Error {
        if isPrepared, let node {
            // The alarm may be for a module.
            do { try node.atEdge() } catch { return error }
        }
        return RunFailure(.refused, host: order.open.host, cause: fault == .alarm ? "was told to end" : "\(fault)")
    }

    private func lost(_ peer: Int) -> RunFailure {
        let name = hostNames.indices.contains(peer) ? hostNames[peer] : "desk"
        var failure = RunFailure(
            .lost, host: order.open.host, frame: lastFrame,
            cause: peer == 0 ? "lost the coordinator" : "lost its link to host \(name)")
        failure.peer = peer == 0 ? nil : name
        return failure
    }

    /// Under way or completed last, once there are frames.
    private var lastFrame: UInt64? { frameUnderWay ?? (stage == .staged ? node?.completedFrame : nil) }

    private func report(_ failure: RunFailure) {
        var failure = failure
        if failure.code == .refused || failure.code == .lost {
            if let cause = endCause.withLock({ $0 }) {
                failure = RunFailure(.lost, host: order.open.host, frame: failure.frame ?? lastFrame, cause: cause)
            }
        }
        // What is missing after a loss looks like a peer's mistake.
        if [.refused, .lost, .protocolError].contains(failure.code), endCause.withLock({ $0 }) == nil,
            let peer = lostPeer.withLock({ $0 })
        {
            failure = lost(peer)
        }
        failure.host = failure.host ?? order.open.host
        tellTimes()
        if let message = try? ControlMessage("failed", failure) {
            try? link.send(message, to: Self.coordinator, urgent: true)
        }
        channel.say("ending", Refused(failure.description))
        // Whoever waits for values of this host finds those it sent, and hears that there will be no more.
        streams?.finish()
        end()
        awaitDismissal()
    }

    /// A link that ends has other hosts give up where they are. Those that are behind still have what they need for the frames
    /// that this one completed, so the links stay until the coordinator has heard of all that.
    private func awaitDismissal() {
        let limit = deadline(after: Self.dismissalSeconds)
        while monotonicNow() < limit, !isToldToEnd.load(ordering: .relaxed),
            lostPeer.withLock({ $0 }) != Self.coordinator
        {
            guard let word = try? link.nextWord(until: monotonicNow() + 10_000_000, heedsAlarm: false) else { continue }
            guard word.peer == Self.coordinator, word.header.kind == .control else { continue }
            if ControlMessage(word.payload)?.say == "terminate" { return }
        }
    }
    private static let dismissalSeconds = 1.0

    /// Where the time of the frames went, once there were any, and the timeline, where one is wanted.
    private func tellTimes() {
        for times in node?.hostTimes ?? [] where !times.frame.counts.isEmpty {
            if let message = try? ControlMessage("times", times) { try? link.send(message, to: Self.coordinator) }
        }
        for traced in node?.hostTraces ?? [] {
            if let message = try? ControlMessage("trace", traced.trace) {
                try? link.send(message, to: Self.coordinator)
            }
        }
    }

    private func end() {
        if hasEnded { return }
        hasEnded = true
        guard let node else {
            var processKeeper = processKeeper
            keeper_finish(&processKeeper)
            folder.remove()
            return
        }
        shared.withLock { $0 = nil }
        node.terminate(hurried: true)
        node.remove()
    }

    private func answer(_ question: ControlMessage, _ say: String = "ok") throws {
        try link.send(ControlMessage(say, id: question.id), to: Self.coordinator)
    }

    /// False when the run is over.
    private func handle(_ message: ControlMessage) throws -> Bool {
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
            let values: StartValues = try body(message)
            guard values.slots.allSatisfy((0..<node!.signalCount).contains) else {
                throw RunFailure(.protocolError, cause: "was given a value for a signal that is not there")
            }
            try node!.stage(overrides: zip(values.slots, values.bits).map { (slot: $0, bits: $1) })
            attentionSeen = node!.attention &- 1
            stage = .staged
            if node!.realtime != nil {
                try link.send(ControlMessage("applied", node!.keepTime()), to: Self.coordinator)
            }
            try sendDone(frame: 0, count: 1, first: 0)
        case "reset":
            try node!.reset()
            try sendDone(frame: 0, count: 1, first: 0)
        case "show":
            let state: ShowState = try body(message)
            node!.show(state.isPaused ? .paused : .running)
        case "write":
            let values: StartValues = try body(message)
            node!.write(zip(values.slots, values.bits).map { (slot: $0, bits: $1) })
        case "sample":
            let wanted: StartValues = try body(message)
            let values = StartValues(slots: wanted.slots, bits: node!.sample(wanted.slots))
            try link.send(ControlMessage("values", id: message.id, values), to: Self.coordinator)
        case "terminate":
            let how: Terminate = try body(message)
            if let node {
                shared.withLock { $0 = nil }
                node.terminate(hurried: how.hurried)
                if how.wantsTimes == true { tellTimes() }
                node.remove()
                self.node = nil
            } else {
                var processKeeper = processKeeper
                keeper_finish(&processKeeper)
                folder.remove()
            }
            hasEnded = true
            try? answer(message)
            return false
        default:
            throw RunFailure(.protocolError, cause: "does not know '\(message.say)'; upgrade its hermes-node")
        }
        return true
    }
    private var hasEnded = false

    /// What is said before its time, or twice, can't be carried out.
    private func checkOrder(_ say: String) throws {
        let begins: [String: Stage] = ["setup": .met, "launch": .linked, "prepare": .launched, "stage": .prepared]
        let isInOrder =
            if let due = begins[say] {
                stage == due
            } else {
                stage == .staged || !["reset", "show", "write", "sample"].contains(say)
            }
        guard isInOrder else { throw RunFailure(.protocolError, cause: "was told '\(say)' out of order") }
    }

    private func body<Body: Codable>(_ message: ControlMessage) throws -> Body {
        guard let body = message.body(Body.self) else {
            throw RunFailure(.protocolError, cause: "can't read the message '\(message.say)'")
        }
        return body
    }

    private func setUp(_ setUp: SetUp) throws {
        let limit = deadline(after: Self.setUpSeconds)
        hostNames = Array(repeating: "desk", count: order.open.participants)
        for peer in setUp.peers where hostNames.indices.contains(peer.index) { hostNames[peer.index] = peer.host }
        for peer in setUp.peers {
            if let endpoint = peer.endpoint, hostNames.indices.contains(peer.index) {
                try link.dial(peer: peer.index, at: endpoint)
            }
        }
        let dialled = setUp.peers.filter { $0.endpoint != nil }.map(\.index)
        var missing = try link.prove(
            setUp.peers.map(\.index).filter(hostNames.indices.contains), dialled: dialled, until: deadline(after: 5))
        if !missing.contains(where: dialled.contains) {
            // The other side knows the address that it does not reach, so it is to speak first.
            missing = try link.prove(missing, dialled: [], until: deadline(after: 1))
        }
        guard missing.isEmpty else {
            let pairs = setUp.peers.filter { missing.contains($0.index) }.map { peer in
                peer.endpoint.map { "does not reach host \(peer.host) at \($0)" }
                    ?? "is not reached by host \(peer.host)"
            }
            throw RunFailure(
                .lost, host: order.open.host,
                cause: pairs.joined(separator: " and ") + "; check addresses, `mirror:` and firewalls")
        }
        try meetStreams(setUp.streams, until: limit)
    }

    private func meetStreams(_ wanted: [SetUp.Stream]?, until limit: UInt64) throws {
        guard let wanted else { return door.close() }
        let open = order.open
        guard wanted.allSatisfy({ hostNames.indices.contains($0.index) && $0.index != open.index && $0.isSound }) else {
            throw RunFailure(.protocolError, cause: "was told of mirror streams that can't be")
        }
        let streams = MirrorStreams(run: open.run, index: open.index, participants: open.participants, alarm: alarm)
        self.streams = streams
        let callers = refusedCallers, channel = channel
        let meeting = StreamMeeting(
            run: open.run, index: open.index, token: open.security.token, alarm: alarm,
            refused: { Self.tell(refused: $0, callers, channel, open) })
        let missing = try meeting.meet(wanted, through: door, into: streams, until: limit)
        guard missing.isEmpty else {
            let pairs = wanted.filter { missing.contains($0.index) }.map { peer in
                let host = hostNames[peer.index] == "desk" ? "the desk" : "host \(hostNames[peer.index])"
                return peer.endpoint.map { "does not reach \(host) for mirrors at \($0)" }
                    ?? "is not reached by \(host) for mirrors"
            }
            throw RunFailure(
                .lost, host: open.host,
                cause: pairs.joined(separator: " and ")
                    + "; let firewalls pass the whole range of hermes-node's --ports, or use --mirrors zeromq")
        }
    }

    private func launch(_ wanted: LaunchModules) throws -> [Announcement] {
        let simulation = try LaunchOrder.simulation(
            wanted, named: folder.name, root: ModuleRoot(order.root), allowsInproc: order.allowsInproc)
        let run = order.open.run, channel = channel, lines = lines, host = order.open.host
        let node = EmbeddedNode(
            simulation, hostName: host,
            settings: LaunchSettings(
                simulationName: folder.name, baseDirectory: order.root, pythonPath: order.pythonPath,
                library: order.library),
            realtime: try LaunchOrder.realtime(wanted), folder: folder, keeper: processKeeper, alarm: alarm,
            reporter: EmbeddedNode.Reporter(
                moduleLine: { lines.say($0, $1) },
                warning: { channel.say("line", SaidLine(run: run, module: nil, text: $0)) },
                stuck: { failure in
                    channel.say("stuck", failure)
                    EmbeddedNode.endProcess(failure)
                },
                fired: { [unowned self] in tell($0) }))
        self.node = node
        shared.withLock { $0 = UncheckedNode(node: node) }
        return try node.launch()
    }

    /// On the thread that runs the frames, so that it comes before the done of its frame; and to the node's log.
    private func tell(_ error: ModuleError) {
        channel.say("fired", error)
        if let message = try? ControlMessage("fired", error) { try? link.send(message, to: Self.coordinator) }
    }

    private func prepare(_ message: ShareMessage) throws {
        let share: HostShare
        do {
            share = try message.share()
        } catch {
            throw RunFailure(
                .protocolError, cause: "was given a share of the plan that does not fit together: \(error)")
        }
        guard node!.fits(share.plan) else {
            throw RunFailure(.protocolError, cause: "was given a share of the plan for other modules than it launched")
        }
        collected = message.collected
        try reserveStreams(share)
        node!.traces = message.wantsTrace == true
        try node!.prepare(share, mirrors: streams ?? link, longestStepSeconds: message.longestStepSeconds)
    }

    private func reserveStreams(_ share: HostShare) throws {
        do throws(LinkFault) {
            try streams?.reserve(share)
        } catch {
            throw RunFailure(.protocolError, cause: "was given mirrors that no stream leads to")
        }
    }

    // MARK: Frames

    /// Runs the frames a step grants, then says done.
    private func run(_ step: FrameHeader) throws {
        guard let node, stage == .staged, step.epoch == node.epoch else { return }
        node.times?.message(.stepMessage, frame: step.frame, count: Int(step.count))
        let width = collected.count, count = Int(step.count)
        guard step.frame == node.completedFrame + 1, (1...FrameHeader.mostGranted).contains(count),
            width * count * 8 <= Int(RunLink.longestMessage) - FrameHeader.size
        else {
            throw RunFailure(
                .protocolError, frame: node.completedFrame,
                cause: "was told to step \(count) frames from \(step.frame) on")
        }
        if rows.count < width * count { rows = [UInt64](repeating: 0, count: width * count) }
        var completed = 0
        // Also when it fails: frames that every host has completed are not lost.
        defer {
            rows.withUnsafeBytes { bytes in
                let values = UnsafeRawBufferPointer(rebasing: bytes[..<(width * completed * 8)])
                try? send(done: step.frame + UInt64(completed) - 1, count: completed, values)
            }
        }
        for index in 0..<count {
            frameUnderWay = step.frame + UInt64(index)
            // What is set from outside waits for an edge that no host has been granted yet.
            try node.step(
                frame: step.frame + UInt64(index), appliesWrites: index == 0 && step.phase != FrameHeader.held)
            let slots = node.slots
            for (column, slot) in collected.enumerated() { rows[index * width + column] = slots[slot] }
            completed += 1
            if node.attention != attentionSeen { try attend() }
        }
        frameUnderWay = nil
    }

    private func sendDone(frame: UInt64, count: Int, first: Int) throws {
        let slots = node!.slots
        let values = collected.map { slots[$0] }
        try values.withUnsafeBytes { try send(done: frame, count: count, $0) }
    }

    private func send(done frame: UInt64, count: Int, _ values: UnsafeRawBufferPointer) throws {
        let phase = node!.hasWritesWaiting ? FrameHeader.held : 0
        try link.send(
            FrameHeader(.done, run: link.run, epoch: node!.epoch, frame: frame, phase: phase, count: count),
            to: Self.coordinator, payload: values)
        node!.times?.message(.doneMessage, frame: frame, count: count)
    }

    /// Somebody on this host wants values, or a module was lost between frames.
    private func attend() throws {
        guard isPrepared, let node, node.attention != attentionSeen else { return }
        attentionSeen = node.attention
        try node.atEdge()
    }
}
