import CZeroMQ
import Glibc
import HermesSystem
import Synchronization

/// Follows the connections of a listening socket on a thread of its own, so that bounds hold however busy its owner is.
final class ListenerWatch: Sendable {
    private let gate: ConnectionGate
    private struct State: @unchecked Sendable {
        let events: ConnectionEvents
        /// What the owner has not heard of.
        var pending: [ConnectionEvent] = []
        var failed = 0
    }
    private let state: Mutex<State>
    /// Readable when there may be events.
    private let eventsDescriptor: Int32
    private let isOver = Atomic<Bool>(false)
    private let bell: (read: Int32, write: Int32)
    private let stop: (read: Int32, write: Int32)
    private let thread = Mutex<pthread_t?>(nil)

    init(of socket: Socket, at endpoint: ByteString, in context: MessageContext) throws {
        gate = try ConnectionGate()
        gate.guards(endpoint)
        let events = try ConnectionEvents(of: socket, in: context)
        eventsDescriptor = events.socket.descriptor
        state = Mutex(State(events: events))
        bell = try Self.pipe()
        stop = try Self.pipe()
        let thread = try startThread("who comes to the endpoint") { [self] in follow() }
        self.thread.withLock { $0 = thread }
    }

    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw TransportError("can't make a pipe", code: errno) }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        return (ends[0], ends[1])
    }

    /// Readable when there is something to take.
    var descriptor: Int32 { bell.read }

    /// Handshakes that failed and connections that were cut.
    var rubbish: Int { state.withLock { $0.failed } + gate.cut }

    /// All that has happened to connections by now, and was not taken before.
    func take() -> [ConnectionEvent] {
        var room = [UInt8](repeating: 0, count: 256)
        while read(bell.read, &room, room.count) > 0 {}
        return state.withLock { state in
            heed(&state)
            defer { state.pending = [] }
            return state.pending
        }
    }

    /// A message was read that came by this connection.
    func heard(_ descriptor: Int32, isSound: Bool) {
        let isNews = state.withLock { state in
            let known = state.pending.count
            heed(&state)
            return state.pending.count > known
        }
        // Who sleeps on the bell next is to take them.
        if isNews { Self.ring(bell.write) }
        gate.heard(descriptor, isSound: isSound)
    }

    /// Before the socket is closed.
    func close() {
        guard let thread = thread.withLock({ $0 }) else { return }
        self.thread.withLock { $0 = nil }
        isOver.store(true, ordering: .releasing)
        Self.ring(stop.write)
        pthread_join(thread, nil)
        state.withLock { $0.events.socket.close() }
        for descriptor in [bell.read, bell.write, stop.read, stop.write] { Glibc.close(descriptor) }
    }

    private static func ring(_ descriptor: Int32) {
        var byte: UInt8 = 1
        write(descriptor, &byte, 1)
    }

    private func heed(_ state: inout State) {
        while let event = state.events.next() {
            switch event {
            case .accepted(let descriptor): gate.accepted(descriptor)
            case .disconnected(let descriptor): gate.ended(descriptor)
            case .handshakeFailed, .notUnderstood:
                state.failed += 1
                continue
            default: continue
            }
            state.pending.append(event)
        }
    }

    /// The socket of the events is under the lock; its descriptor only says when to look.
    private func follow() {
        while !isOver.load(ordering: .acquiring) {
            let before = rubbish
            let hasNews = state.withLock { state in
                let known = state.pending.count
                heed(&state)
                return state.pending.count > known
            }
            if gate.look() { NodeListener.giveMemoryBack() }
            if hasNews || rubbish != before { Self.ring(bell.write) }
            // Only now: a socket that was not read to its end does not tell of what comes.
            var watched = [eventsDescriptor, gate.descriptor, stop.read].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            _ = Glibc.poll(&watched, nfds_t(watched.count), -1)
        }
    }
}
