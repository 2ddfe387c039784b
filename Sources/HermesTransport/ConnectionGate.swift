import CZeroMQ
import Glibc
import HermesSystem
import Synchronization

/// Bounds what connections that a socket accepts may cost before anybody knows who they are, and afterwards. Libzmq keeps a
/// message until it is whole, a message of several parts until the last has come, and takes every connection; it has no bounds
/// for all of them together. So each connection is watched from outside, through a duplicate of its descriptor: the
/// system says when bytes have come and how many. One that goes too far is shut down, and libzmq sees it end.
///
/// Costs nothing while nothing is said. A connection that is released is not watched any more.
final class ConnectionGate: Sendable {
    struct Limits {
        /// Connections that have said nothing yet that could be used, and those that have.
        var strangers = 128
        var callers = 256
        /// Bytes that a connection may have sent since its last whole message, before its first and afterwards.
        var first = 16 << 10
        var unread = 16 << 20
        /// Of all connections together.
        var allUnread = 32 << 20
    }

    /// One accepted connection. Numbers of bytes are the system's.
    private struct Connection {
        /// The duplicate.
        let descriptor: Int32
        let address: [UInt8]
        let order: UInt64
        var isCaller = false
        /// When its last whole message was read.
        var received: UInt64 = 0, acknowledged: UInt64 = 0
        var unread = 0
    }
    private struct State {
        /// Where the socket listens: a connection of another place is none of its.
        var ports: Set<UInt16> = [], paths: Set<[UInt8]> = []
        /// By the descriptor that libzmq has.
        var connections: [Int32: Connection] = [:]
        var unread = 0
        var accepted: UInt64 = 0
        var cut = 0
        /// Connections that were released before this heard of them: one thread reads what they say, another that they are.
        var releasedEarly: Set<UInt64> = []
    }

    let limits: Limits
    private let state = Mutex(State())
    /// Readable when something came by some connection.
    let descriptor: Int32

    init(_ limits: Limits = Limits()) throws {
        self.limits = limits
        descriptor = epoll_create1(O_CLOEXEC)
        guard descriptor >= 0 else { throw TransportError("can't watch connections", code: errno) }
    }

    deinit {
        state.withLock { $0.connections.values.forEach { Glibc.close($0.descriptor) } }
        Glibc.close(descriptor)
    }

    /// Connections that were shut down so far.
    var cut: Int { state.withLock { $0.cut } }

    /// The socket listens there, as ZeroMQ says it.
    func guards(_ endpoint: ByteString) {
        state.withLock { state in
            if endpoint.hasPrefix("ipc://") {
                state.paths.insert(endpoint.dropFirst(6).bytes)
            } else if let port = endpoint.text.flatMap({ TCPEndpoint($0)?.port }) {
                state.ports.insert(UInt16(truncatingIfNeeded: port))
            }
        }
    }

    // MARK: What happens to connections

    /// Libzmq has accepted a connection; it may be gone by now, and its descriptor another one's.
    func accepted(_ number: Int32) {
        let duplicate = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0 else { return }
        let here = Self.place(of: duplicate, getsockname), there = Self.place(of: duplicate, getpeername)
        state.withLock { state in
            guard let here, let there,
                here.port.map(state.ports.contains) ?? state.paths.contains(here.address)
            else {
                Glibc.close(duplicate)
                return
            }
            forget(number, &state)
            if let identity = Self.identity(of: duplicate), state.releasedEarly.remove(identity) != nil {
                Glibc.close(duplicate)
                return
            }
            // So that little comes before this side has had its turn, however busy the machine is.
            Self.setWindow(of: duplicate, 1)
            state.accepted += 1
            state.connections[number] = Connection(
                descriptor: duplicate, address: there.address, order: state.accepted)
            _ = hermes_watch_arrivals(descriptor, duplicate, Self.tag(number))
            let strangers = state.connections.filter { !$0.value.isCaller }
            if strangers.count > limits.strangers { shutDown(Self.leastMissed(strangers), &state) }
        }
    }

    func ended(_ number: Int32) { state.withLock { forget(number, &$0) } }

    /// A message of this connection was read, whole.
    /// - Parameter isSound: false for one that is none; whoever sent it stays a stranger.
    func heard(_ number: Int32, isSound: Bool) {
        state.withLock { state in
            guard var connection = state.connections[number] else { return }
            state.unread -= connection.unread
            connection.unread = 0
            (connection.received, connection.acknowledged) = Self.traffic(of: connection.descriptor)
            let isFirst = isSound && !connection.isCaller
            if isFirst { Self.setWindow(of: connection.descriptor, .max) }
            connection.isCaller = connection.isCaller || isSound
            state.connections[number] = connection
            if isFirst && state.connections.count(where: { $0.value.isCaller }) > limits.callers {
                shutDown(number, &state)
            }
        }
    }

    /// Whoever it is may do as it likes from here on.
    func release(_ number: Int32) {
        state.withLock { state in
            if let connection = state.connections[number] {
                Self.setWindow(of: connection.descriptor, .max)
                forget(number, &state)
            } else if let identity = Self.identity(of: number) {
                state.releasedEarly.insert(identity)
            }
        }
    }

    /// What tells a socket from every other, whatever descriptor it has.
    private static func identity(of descriptor: Int32) -> UInt64? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : nil
    }

    /// Looks at the connections by which something came, and shuts down those that go too far.
    /// - Returns: whether one was that had sent much.
    @discardableResult
    func look() -> Bool {
        var hasCut = false
        while true {
            let tag = hermes_next_arrival(descriptor)
            guard tag > 0 else { return hasCut }
            hasCut = state.withLock { weigh(Int32(tag - 1), &$0) } || hasCut
        }
    }

    /// Never 0.
    private static func tag(_ number: Int32) -> UInt64 { UInt64(number) + 1 }

    // MARK: Bounds

    /// True when a connection was shut down that had sent much.
    private func weigh(_ number: Int32, _ state: inout State) -> Bool {
        guard var connection = state.connections[number] else { return false }
        let (received, acknowledged) = Self.traffic(of: connection.descriptor)
        // Heartbeats are answered at once, so what they come to is known by the answers.
        let answered = (acknowledged &- connection.acknowledged) &* 2
        let came = received &- connection.received
        let unread = came > answered ? Int(clamping: came - answered) : 0
        state.unread += unread - connection.unread
        connection.unread = unread
        state.connections[number] = connection
        // Before the first message there are greeting and handshake, which are answered, too, but short.
        if unread > (connection.isCaller ? limits.unread : limits.first) {
            shutDown(number, &state)
            return true
        }
        guard state.unread > limits.allUnread,
            let most = state.connections.max(by: { $0.value.unread < $1.value.unread })
        else { return false }
        shutDown(most.key, &state)
        return true
    }

    /// Of those that have said nothing, one from where most of them are: the one that came first, for who means it speaks at once.
    private static func leastMissed(_ strangers: [Int32: Connection]) -> Int32 {
        var counts: [[UInt8]: Int] = [:]
        for stranger in strangers.values { counts[stranger.address, default: 0] += 1 }
        let most = counts.values.max()!
        return strangers.filter { counts[$0.value.address] == most }.min { $0.value.order < $1.value.order }!.key
    }

    private func shutDown(_ number: Int32, _ state: inout State) {
        guard let connection = state.connections[number] else { return }
        shutdown(connection.descriptor, Int32(SHUT_RDWR))
        state.cut += 1
        forget(number, &state)
    }

    /// A duplicate has to be taken out by name: the connection itself may be open still.
    private func forget(_ number: Int32, _ state: inout State) {
        guard let connection = state.connections.removeValue(forKey: number) else { return }
        state.unread -= connection.unread
        _ = hermes_forget_arrivals(descriptor, connection.descriptor)
        Glibc.close(connection.descriptor)
    }

    // MARK: The system's words

    /// Bytes that came, and that the other side has taken, of TCP; of a socket file nobody counts, and nobody but its user gets there.
    private static func traffic(of descriptor: Int32) -> (received: UInt64, acknowledged: UInt64) {
        // Glibc's tcp_info ends before these two; linux/tcp.h has them at 120 and 128, since Linux 4.1.
        var room = [UInt64](repeating: 0, count: 32), size = socklen_t(256)
        guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &room, &size) == 0, size >= 136 else {
            return (0, 0)
        }
        return (room[16], room[15])
    }

    /// How many bytes may be under way by TCP; the system has a least of its own, some thousand.
    private static func setWindow(of descriptor: Int32, _ bytes: Int32) {
        var bytes = bytes
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_WINDOW_CLAMP, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// One end of a connection: an address and a port, or a path without; nil for a descriptor that is no connection.
    private static func place(
        of descriptor: Int32,
        _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> (address: [UInt8], port: UInt16?)? {
        var storage = sockaddr_storage(), size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let code = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { ask(descriptor, $0, &size) }
        }
        guard code == 0 else { return nil }
        let family = Int32(storage.ss_family)
        return withUnsafeBytes(of: &storage) { bytes in
            let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
            switch family {
            case AF_INET: return (Array(bytes[4..<8]), port)
            case AF_INET6: return (Array(bytes[8..<24]), port)
            case AF_UNIX: return (Array(bytes[2..<max(2, Int(size))].prefix { $0 != 0 }), nil)
            default: return nil
            }
        }
    }
}
