import FoundationEssentials
import Glibc
import HermesCoordinator
import HermesModel
import HermesNode
import HermesSystem
import Synchronization

/// Answers `hermes pause`, `step`, `status` and the like at a run's `control.sock`. Lives in the run's service loop.
final class ControlServer {
    private final class Connection: Sendable {
        let socket: Int32
        private let asksForEnd = Atomic<Bool>(false)
        private let isOpen = Mutex(true)

        init(_ socket: Int32) { self.socket = socket }

        /// It asked for `stop`.
        var awaitsEnd: Bool {
            get { asksForEnd.load(ordering: .relaxed) }
            set { asksForEnd.store(newValue, ordering: .relaxed) }
        }

        /// From any thread.
        func send(_ reply: ControlReply) {
            guard var line = try? JSONEncoder().encode(reply) else { return }
            line.append(UInt8(ascii: "\n"))
            isOpen.withLock { isOpen in
                guard isOpen else { return }
                line.withUnsafeBytes { Self.send($0, to: socket) }
            }
        }

        /// One who does not read is not waited for longer than a second.
        private static func send(_ bytes: UnsafeRawBufferPointer, to socket: Int32) {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.send(
                    socket, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count,
                    Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else {
                    var ready = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
                    guard errno == EAGAIN, poll(&ready, 1, 1000) > 0 else { return }
                }
            }
        }

        func close() {
            isOpen.withLock { isOpen in
                if isOpen { Glibc.close(socket) }
                isOpen = false
            }
        }
    }

    private static let longestRequest = 1 << 24
    private static let mostConnections = 64

    private let listener: Int32
    private let coordinator: Coordinator
    private let lastFrame: UInt64?
    private var connections: [(connection: Connection, pending: [UInt8])] = []

    /// - Parameter path: of the socket to make.
    init?(path: String, coordinator: Coordinator, lastFrame: UInt64?) {
        guard let listener = UnixSocket.listen(at: ByteString(path)) else { return nil }
        self.listener = listener
        self.coordinator = coordinator
        self.lastFrame = lastFrame
    }

    /// What the service loop polls, in the order `handle` expects the answers.
    var watched: [pollfd] {
        ([listener] + connections.map(\.connection.socket)).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    }

    func handle(_ polled: ArraySlice<pollfd>) {
        var gone: [Int] = []
        for (index, entry) in polled.dropFirst().enumerated() where entry.revents != 0 {
            if !read(index) { gone.append(index) }
        }
        for index in gone.reversed() { connections.remove(at: index).connection.close() }
        if let first = polled.first, first.revents != 0 { accept() }
    }

    /// Those who asked for the end are left to the end of this process: it closes their connections, and they know.
    func close() {
        for (connection, _) in connections where !connection.awaitsEnd { connection.close() }
        connections = []
        Glibc.close(listener)
    }

    private func accept() {
        let socket = Glibc.accept(listener, nil, nil)
        guard socket >= 0 else { return }
        guard connections.count < Self.mostConnections else {
            Glibc.close(socket)
            return
        }
        _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
        connections.append((Connection(socket), []))
    }

    /// False when the connection is over.
    private func read(_ index: Int) -> Bool {
        var room = [UInt8](repeating: 0, count: 4096)
        let count = recv(connections[index].connection.socket, &room, room.count, Int32(MSG_DONTWAIT))
        if count < 0 { return errno == EAGAIN || errno == EINTR }
        guard count > 0 else { return false }
        connections[index].pending += room[..<count]
        while let end = connections[index].pending.firstIndex(of: UInt8(ascii: "\n")) {
            let line = Data(connections[index].pending[..<end])
            connections[index].pending.removeFirst(end + 1)
            answer(line, connections[index].connection)
        }
        return connections[index].pending.count <= Self.longestRequest
    }

    private func answer(_ line: Data, _ connection: Connection) {
        guard let request = try? JSONDecoder().decode(ControlRequest.self, from: line) else {
            return connection.send(ControlReply(error: "that is no request this version knows"))
        }
        if request.command == .status { return connection.send(ControlReply(status: status)) }
        guard coordinator.progress.hasStaged || request.command == .stop else {
            return connection.send(
                ControlReply(
                    error: "the simulation '\(coordinator.simulation.name)' is still staging; try again in a moment"))
        }
        switch request.command {
        case .signals:
            return connection.send(ControlReply(signals: coordinator.plan?.registry.signals.map { SignalListing($0) }))
        case .sample: return sample(request.slots ?? [], connection)
        case .write: return write(request, connection)
        default: break
        }
        guard let command = command(of: request) else {
            return connection.send(ControlReply(error: "the request lacks its count or mode"))
        }
        connection.awaitsEnd = command == .stop
        if command == .stop && !coordinator.progress.hasStaged { coordinator.abandon() }
        coordinator.mailbox.post(command) { result in
            switch result {
            case .success(let frame): connection.send(ControlReply(frame: frame))
            case .failure(let refusal): connection.send(ControlReply(error: refusal.description))
            }
        }
    }

    private func command(of request: ControlRequest) -> RunCommand? {
        switch request.command {
        case .pause: .pause
        case .resume: .resume
        case .reset: .reset
        case .stop: .stop
        case .step: .step(count: request.count ?? 1)
        case .mode: request.mode.map { .setMode($0) }
        case .status, .signals, .sample, .write: nil
        }
    }

    private func sample(_ slots: [Int], _ connection: Connection) {
        let count = coordinator.plan?.registry.signals.count ?? 0
        coordinator.sample(slots.filter { (0..<count).contains($0) }) { frame, result in
            switch result {
            case .success(let bits): connection.send(ControlReply(frame: frame, bits: bits))
            case .failure(let failure): connection.send(ControlReply(error: failure.description))
            case nil: connection.send(ControlReply(error: "the simulation has ended"))
            }
        }
    }

    private func write(_ request: ControlRequest, _ connection: Connection) {
        guard let plan = coordinator.plan, let slots = request.slots, let bits = request.bits, slots.count == bits.count
        else { return connection.send(ControlReply(error: "the request lacks its values")) }
        for slot in slots {
            guard plan.registry.signals.indices.contains(slot) else {
                return connection.send(ControlReply(error: "there is no such signal"))
            }
            let signal = plan.registry.signals[slot]
            if signal.isWired {
                return connection.send(ControlReply(error: "'\(signal.name)' can't be set: a wire drives it"))
            }
            guard signal.isWritable else {
                return connection.send(
                    ControlReply(
                        error:
                            "'\(signal.name)' can't be set: it is read-only (list it under signals: with writable: true)"
                    ))
            }
        }
        coordinator.write(zip(slots, bits).map { (slot: $0, bits: $1) }) { frame, result in
            switch result {
            case .success: connection.send(ControlReply(frame: frame))
            case .failure(let failure): connection.send(ControlReply(error: failure.description))
            case nil: connection.send(ControlReply(error: "the simulation has ended"))
            }
        }
    }

    private var status: RunStatus {
        let progress = coordinator.progress
        let rate = coordinator.simulation.execution.rateHz
        return RunStatus(
            name: coordinator.simulation.name,
            state: !progress.hasStaged ? "staging" : progress.isPaused ? "paused" : "running",
            mode: progress.mode.rawValue, frame: progress.frame, epoch: progress.epoch,
            time: Double(progress.frame) / rate, rateHz: rate, frames: lastFrame, pid: getpid(),
            hosts: Set(coordinator.simulation.modules.map(\.host) + [nil]).count,
            modules: modules)
    }

    private var modules: [RunStatus.Module] {
        let errors = coordinator.moduleErrors
        return coordinator.moduleStates.map { name, state in
            let own = errors.filter { $0.module.isSame(as: name) }
            return RunStatus.Module(
                name: name, state: state.rawValue, restarts: own.count { $0.action == .restarted }, lastError: own.last)
        }
    }
}
