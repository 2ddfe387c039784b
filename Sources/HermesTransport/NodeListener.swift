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

    /// Who speaks by which connection: one that ends takes its callers along. It has one, and seldom a second that was gone before
    /// its message was read: the kernel has given the number of its connection again. That one shows when it is answered.
    private struct Connections {
        private var open: Set<Int32> = []
        private var callers: [Int32: Set<Caller>] = [:]
        private var descriptors: [Caller: Int32] = [:]
        private(set) var lost: Set<Caller> = []

        mutating func accepted(_ descriptor: Int32) { open.insert(descriptor) }

        mutating func ended(_ descriptor: Int32) {
            open.remove(descriptor)
            for caller in callers.removeValue(forKey: descriptor) ?? [] {
                descriptors[caller] = nil
                lost.insert(caller)
            }
        }

        mutating func isUnreachable(_ caller: Caller) {
            guard let descriptor = descriptors.removeValue(forKey: caller) else { return }
            callers[descriptor]?.remove(caller)
            lost.insert(caller)
        }

        /// A message may be read when its sender has gone already.
        mutating func spoke(_ caller: Caller, by descriptor: Int32) {
            if descriptors[caller] == descriptor { return }
            guard open.contains(descriptor) else { return }
            callers[descriptor, default: []].insert(caller)
            descriptors[caller] = descriptor
        }

        func has(_ caller: Caller) -> Bool { descriptors[caller] != nil }

        mutating func takeLost() -> Set<Caller> {
            defer { lost = [] }
            return lost
        }
    }

    private let socket: Socket
    private let watch: ListenerWatch
    private var messagesOfRubbish = 0
    /// Handshakes that failed, connections that were cut, and messages that were none.
    public var rubbish: Int { messagesOfRubbish + watch.rubbish }
    private var connections = Connections()

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
        watch = try ListenerWatch(of: socket, at: endpoint, in: context)
        do {
            try socket.bind(endpoint)
        } catch {
            watch.close()
            throw error
        }
    }

    /// After messages of many bytes were done with.
    public static func giveMemoryBack() { hermes_give_memory_back() }

    public func close() {
        watch.close()
        socket.close()
    }

    /// Sleeps until there is something to do here or one of the descriptors can be read; those that can.
    public func sleep(watching descriptors: [Int32], milliseconds: Int) -> [Int32] {
        var items = [socket.readable, readable(watch.descriptor)] + descriptors.map { readable($0) }
        poll(&items, milliseconds: milliseconds)
        return zip(descriptors, items.dropFirst(2)).filter { $1.revents != 0 }.map(\.0)
    }

    /// The next message, nil when there is none, or so much rubbish before it that others should have their turn.
    public func next() -> (caller: Caller, message: ControlMessage)? {
        heedEvents()
        for _ in 0..<Self.mostRubbish {
            guard let parts = socket.receive(most: 3) else {
                if hasReadBulk { Self.giveMemoryBack() }
                hasReadBulk = false
                return nil
            }
            if parts.count > 2 || parts.contains(where: { $0.count > Self.bulk }) { hasReadBulk = true }
            let message = parts.count == 2 ? parts[1].withUnsafeBytes { ControlMessage($0) } : nil
            watch.heard(socket.sourceDescriptor, isSound: message != nil)
            if let message {
                let caller = Caller(name: parts[0])
                // The kernel gives a number again once a connection has ended: what happened before this message comes first.
                heedEvents()
                connections.spoke(caller, by: socket.sourceDescriptor)
                return (caller, message)
            }
            messagesOfRubbish += 1
        }
        return nil
    }

    private func heedEvents() {
        for event in watch.take() {
            switch event {
            case .accepted(let descriptor): connections.accepted(descriptor)
            case .disconnected(let descriptor): connections.ended(descriptor)
            default: continue
            }
        }
    }

    /// False once a caller's connection has ended: it may have said something before.
    public func isThere(_ caller: Caller) -> Bool { connections.has(caller) }

    /// Callers that have said something and are gone, each once.
    public func takeLost() -> Set<Caller> { connections.takeLost() }

    /// False when too much waits for this caller already. One that is gone is not missed.
    public func send(_ message: ControlMessage, to caller: Caller) -> Bool {
        if socket.send([caller.name, message.encoded]) { return true }
        if zmq_errno() == EAGAIN { return false }
        connections.isUnreachable(caller)
        return true
    }
}
