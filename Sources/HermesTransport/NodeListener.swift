import CZeroMQ
import Glibc
import HermesProtocol
import HermesSystem

/// A node's endpoint: takes control messages from whoever may speak to it, and answers.
public final class NodeListener {
    /// Who said something; answers go to it.
    public struct Caller: Hashable, Sendable {
        let name: [UInt8]
    }

    private let socket: Socket
    private let events: ConnectionEvents
    /// Handshakes that failed and messages that were none.
    public private(set) var rubbish = 0

    /// Bytes of the longest message somebody may send: a piece of a file is the longest there is, a million bytes in base64.
    public static let longestMessage: Int64 = 2 << 20
    /// Messages of one caller that may wait to be read; it waits with the rest.
    private static let mostUnread: Int32 = 16
    /// Messages that may wait for one caller.
    private static let mostWaiting: Int32 = 500
    /// Bytes from which on a message's memory is worth giving back.
    public static let bulk = 1 << 16
    private var hasReadBulk = false
    /// How much rubbish is looked at in one go.
    private static let mostRubbish = 100

    /// - Parameter keys: the node's own pair; nil on loopback without keys.
    public init(_ context: MessageContext, endpoint: ByteString, keys: CurveKeys?) throws {
        socket = try Socket(context, ZMQ_ROUTER)
        if let keys {
            socket.set(ZMQ_CURVE_SERVER, 1)
            socket.set(ZMQ_CURVE_SECRETKEY, text: keys.secretKey)
        }
        socket.setWide(ZMQ_MAXMSGSIZE, Self.longestMessage)
        // Whoever does not take its messages is told of, not passed over; what one may leave lying is bounded.
        socket.set(ZMQ_ROUTER_MANDATORY, 1)
        socket.set(ZMQ_SNDHWM, Self.mostWaiting)
        socket.set(ZMQ_RCVHWM, Self.mostUnread)
        socket.set(ZMQ_IPV6, 1)
        socket.set(ZMQ_LINGER, 200)
        socket.set(ZMQ_HEARTBEAT_IVL, 1000)
        socket.set(ZMQ_HEARTBEAT_TIMEOUT, 4000)
        socket.set(ZMQ_HANDSHAKE_IVL, 5000)
        events = try ConnectionEvents(of: socket, in: context)
        try socket.bind(endpoint)
    }

    /// After messages of many bytes were done with.
    public static func giveMemoryBack() { hermes_give_memory_back() }

    public func close() {
        socket.close()
        events.socket.close()
    }

    /// Sleeps until there is something to do here or one of the descriptors can be read; those that can.
    public func sleep(watching descriptors: [Int32], milliseconds: Int) -> [Int32] {
        var items = [socket.readable, events.socket.readable] + descriptors.map { readable($0) }
        poll(&items, milliseconds: milliseconds)
        return zip(descriptors, items.dropFirst(2)).filter { $1.revents != 0 }.map(\.0)
    }

    /// The next message, nil when there is none, or so much rubbish before it that others should have their turn.
    public func next() -> (caller: Caller, message: ControlMessage)? {
        while let event = events.next() {
            if event == .handshakeFailed || event == .notUnderstood { rubbish += 1 }
        }
        for _ in 0..<Self.mostRubbish {
            guard let parts = socket.receive(most: 3) else {
                if hasReadBulk { Self.giveMemoryBack() }
                hasReadBulk = false
                return nil
            }
            if parts.count > 2 || parts.contains(where: { $0.count > Self.bulk }) { hasReadBulk = true }
            if parts.count == 2, let message = parts[1].withUnsafeBytes({ ControlMessage($0) }) {
                return (Caller(name: parts[0]), message)
            }
            rubbish += 1
        }
        return nil
    }

    /// False when too much waits for this caller already. One that is gone is not missed.
    public func send(_ message: ControlMessage, to caller: Caller) -> Bool {
        socket.send([caller.name, message.encoded]) || zmq_errno() != EAGAIN
    }
}
