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
    /// Index of the coordinator among the participants.
    private static let coordinator = 0

    let opened: OpenedRun
    private let order: WorkerOrder
    private let channel: LineChannel
    private let folder: RunFolder
    private let context: MessageContext
    private let link: RunLink
    private let alarm = Alarm()
    private let isOver = Alarm()
    private let processKeeper: keeper
    private let lostPeer = Mutex<Int?>(nil)
    /// Why the node ends this run.
    private let endCause = Mutex<String?>(nil)
    private var hostNames: [String] = []
    private var node: EmbeddedNode?
    /// The node, for the other threads.
    private let shared = Mutex<UncheckedNode?>(nil)
    private var collected: [Int] = []
    private var rows: [UInt64] = []
    private var attentionSeen: UInt32 = 0
    private var isPrepared = false

    private struct UncheckedNode: @unchecked Sendable { let node: EmbeddedNode }

    init(_ order: WorkerOrder, channel: LineChannel, keeper processKeeper: inout keeper) throws {
        self.order = order
        self.channel = channel
        let open = order.open
        folder = try RunFolder(name: "\(open.simulation).\(open.host)", host: open.host)
        context = MessageContext()
        let keys = open.security.participants
        let policy: Authenticator.Policy =
            keys.map { keys in .curve { keys.contains($0) } } ?? .plain(password: open.security.token)
        try Authenticator.start(in: context, policy) { address, _ in
            channel.say(
                "line", SaidLine(run: open.run, module: nil, text: "refused somebody at \(address) on this run's port"))
        }
        link = try RunLink(
            context, run: open.run, index: open.index, participants: open.participants, security: open.security,
            livenessSeconds: open.livenessSeconds, alarm: alarm)
        opened = try Self.listen(link, order)
        self.processKeeper = processKeeper
    }

    /// On the first port of the range that is free at every address.
    private static func listen(_ link: RunLink, _ order: WorkerOrder) throws -> OpenedRun {
        if let path = order.path {
            try link.listen(on: ["ipc://\(path)"])
            return OpenedRun(port: nil, path: path)
        }
        // Where ports are many, runs that start side by side do not try the same ones.
        let count = order.lastPort - order.firstPort + 1
        let start = Int(order.open.run % UInt64(max(count, 1)))
        for attempt in 0..<count {
            let port = order.firstPort + (start + attempt) % count
            do {
                try link.listen(on: order.addresses.map { "tcp://\($0):\(port)" })
                return OpenedRun(port: port, path: nil)
            } catch let error as TransportError where error.code == EADDRINUSE {
                continue
            }
        }
        throw RunFailure(
            .resource, host: order.open.host,
            cause: "every port from \(order.firstPort) to \(order.lastPort) is taken; widen --ports")
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
        link.close(lingers: true)
        context.close()
        if let path = order.path { unlink(path) }
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
            .lost, host: order.open.host, frame: isPrepared ? node.map { $0.completedFrame } : nil,
            cause: peer == 0 ? "lost the coordinator" : "lost its link to host \(name)")
        failure.peer = peer == 0 ? nil : name
        return failure
    }

    private func report(_ failure: RunFailure) {
        var failure = failure
        if failure.code == .refused || failure.code == .lost {
            if let cause = endCause.withLock({ $0 }) {
                failure = RunFailure(.lost, host: order.open.host, frame: failure.frame, cause: cause)
            } else if let peer = lostPeer.withLock({ $0 }) {
                failure = lost(peer)
            }
        }
        failure.host = failure.host ?? order.open.host
        if let message = try? ControlMessage("failed", failure) {
            try? link.send(message, to: Self.coordinator, urgent: true)
        }
        channel.say("ending", Refused(failure.description))
    }

    private func end() {
        if hasEnded { return }
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
        switch message.say {
        case "setup":
            try setUp(try body(message))
            try answer(message)
        case "launch":
            let announced = Announced(try launch(try body(message)))
            try link.send(ControlMessage("announced", id: message.id, announced), to: Self.coordinator)
        case "prepare":
            try prepare(try body(message))
            try answer(message)
        case "stage":
            let values: StartValues = try body(message)
            try node!.stage(overrides: zip(values.slots, values.bits).map { (slot: $0, bits: $1) })
            attentionSeen = node!.attention &- 1
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

    private func body<Body: Codable>(_ message: ControlMessage) throws -> Body {
        guard let body = message.body(Body.self) else {
            throw RunFailure(.protocolError, cause: "can't read the message '\(message.say)'")
        }
        return body
    }

    private func setUp(_ setUp: SetUp) throws {
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
    }

    private func launch(_ wanted: LaunchModules) throws -> [Announcement] {
        let simulation = try LaunchOrder.simulation(
            wanted, named: folder.name, root: ModuleRoot(order.root), allowsInproc: order.allowsInproc)
        let run = order.open.run, channel = channel, host = order.open.host
        let node = EmbeddedNode(
            simulation, hostName: host,
            settings: LaunchSettings(
                simulationName: folder.name, baseDirectory: order.root, pythonPath: order.pythonPath,
                library: order.library),
            folder: folder, keeper: processKeeper, alarm: alarm,
            reporter: EmbeddedNode.Reporter(
                moduleLine: { channel.say("line", SaidLine(run: run, module: $0, text: $1)) },
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

    /// On the thread that runs the frames, so that it comes before the done of its frame.
    private func tell(_ error: ModuleError) {
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
        collected = message.collected
        try node!.prepare(share, link: link, longestStepSeconds: message.longestStepSeconds)
        isPrepared = true
    }

    // MARK: Frames

    /// Runs the frames a step grants, then says done.
    private func run(_ step: FrameHeader) throws {
        let node = node!
        guard isPrepared, step.epoch == node.epoch else { return }
        let width = collected.count, count = Int(step.count)
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
            // What is set from outside waits for an edge that no host has been granted yet.
            try node.step(frame: step.frame + UInt64(index), appliesWrites: index == 0)
            let slots = node.slots
            for (column, slot) in collected.enumerated() { rows[index * width + column] = slots[slot] }
            completed += 1
            if node.attention != attentionSeen { try attend() }
        }
    }

    private func sendDone(frame: UInt64, count: Int, first: Int) throws {
        let slots = node!.slots
        let values = collected.map { slots[$0] }
        try values.withUnsafeBytes { try send(done: frame, count: count, $0) }
    }

    private func send(done frame: UInt64, count: Int, _ values: UnsafeRawBufferPointer) throws {
        try link.send(
            FrameHeader(.done, run: link.run, epoch: node!.epoch, frame: frame, count: count), to: Self.coordinator,
            payload: values)
    }

    /// Somebody on this host wants values, or a module was lost between frames.
    private func attend() throws {
        guard isPrepared, let node, node.attention != attentionSeen else { return }
        attentionSeen = node.attention
        try node.atEdge()
    }
}
