import CZeroMQ
import Glibc
import HermesSystem

/// What happens to a socket's connections.
public enum ConnectionEvent: Sendable, Equatable {
    /// A peer has dialled; who it is will show.
    case accepted(descriptor: Int32)
    /// A peer has proved who it is.
    case connected
    case disconnected(descriptor: Int32)
    /// The other side does not accept this key.
    case refusedHere
    /// No handshake came about: another key, or somebody who hangs up.
    case handshakeFailed
    /// Somebody who speaks no ZeroMQ, or another mechanism; ZeroMQ does not dial again.
    case notUnderstood
    /// Nobody listens there yet; it is tried again.
    case retried
}

/// The events of one socket, read where its owner likes.
final class ConnectionEvents {
    let socket: Socket

    private static let number = SerialNumber()

    init(of watched: Socket, in context: MessageContext) throws {
        let address: ByteString = "inproc://events-\(Self.number.next())"
        let wanted =
            ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
            | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
            | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED
        guard zmq_socket_monitor(watched.pointer, address.cString, wanted) == 0 else {
            throw TransportError("can't watch a socket")
        }
        socket = try Socket(context, ZMQ_PAIR)
        try socket.connect(address)
    }

    /// What is lost of short messages is sent again at an even pace, not after pauses that double: a run goes on soon after
    /// an outage. The kernel does so only where loss sets the pace, so not under BBR. Means nothing to sockets other than TCP.
    private static func triesEvenly(_ descriptor: Int32) {
        let tcp = Int32(IPPROTO_TCP)
        for algorithm in ["cubic", "reno"] {
            if setsockopt(descriptor, tcp, TCP_CONGESTION, algorithm, socklen_t(algorithm.utf8.count)) == 0 { break }
        }
        var yes: Int32 = 1
        setsockopt(descriptor, tcp, TCP_THIN_LINEAR_TIMEOUTS, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    func next() -> ConnectionEvent? {
        while let parts = socket.receive() {
            guard let head = parts.first, head.count >= 6 else { continue }
            let number = Int32(UInt16(head[0]) | UInt16(head[1]) << 8)
            let value = head[2..<6].enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << (8 * $1.offset) }
            switch number {
            case ZMQ_EVENT_ACCEPTED:
                Self.triesEvenly(Int32(bitPattern: value))
                return .accepted(descriptor: Int32(bitPattern: value))
            case ZMQ_EVENT_CONNECTED:
                Self.triesEvenly(Int32(bitPattern: value))
                continue
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .connected
            case ZMQ_EVENT_DISCONNECTED: return .disconnected(descriptor: Int32(bitPattern: value))
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return .refusedHere
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: return .notUnderstood
            case ZMQ_EVENT_CONNECT_RETRIED: return .retried
            default: return .handshakeFailed
            }
        }
        return nil
    }
}
