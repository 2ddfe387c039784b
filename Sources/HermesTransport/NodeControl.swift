import CZeroMQ
import Glibc
import HermesProtocol
import HermesSystem
import Synchronization

/// Speaks to the endpoints of nodes: questions from any thread, answers matched by number, and what nodes say unasked. One
/// thread owns the sockets.
public final class NodeControl: @unchecked Sendable {
    public struct Node: Sendable {
        public var name: String
        public var endpoint: String
        /// Nil on loopback without keys.
        public var publicKey: String?

        public init(name: String, endpoint: String, publicKey: String?) {
            self.name = name
            self.endpoint = endpoint
            self.publicKey = publicKey
        }
    }

    /// Why there was no answer.
    public struct NoAnswer: Error, Sendable, CustomStringConvertible {
        public var node: String
        public var cause: String
        public var description: String { "host \(node): \(cause)" }
    }

    private struct Connection {
        let node: Node
        let socket: Socket
        let events: ConnectionEvents
        /// The node has a key and this side none: it is not spoken to.
        let lacksKey: Bool
        /// The key given for the node is this side's own, public or secret.
        let hasOwnKey: Bool
    }
    /// What has been seen of a node.
    private struct Standing {
        /// By the number of the question: nil until it has come. What nobody asked is not kept.
        var answers: [Int: ControlMessage?] = [:]
        var isConnected = false
        var wasConnected = false
        var isRefused = false
        /// It has sent what is no control message, or answers what it was not asked.
        var isMuddled = false
        var failedHandshakes = 0
        var retries = 0
        /// Why its name leads nowhere.
        var unresolved: String?
        /// The addresses of its name, one after the other, as endpoints in numbers; nil while they are looked up.
        var addresses: [String]?
        /// The one that is dialled.
        var dialled = 0
    }
    private struct State {
        var standings: [Standing]
        var isOver = false
        var isAbandoned = false
    }

    private let connections: [Connection]
    private let state: Monitor<State>
    private let outgoing = Mutex<[(node: Int, message: ControlMessage)]>([])
    private let bell: WakePipe
    private let onUnasked: @Sendable (_ node: Int, _ message: ControlMessage) -> Void
    private let onLost: @Sendable (_ node: Int) -> Void
    private let number = SerialNumber()
    /// Whether nodes that nobody has started yet are waited for.
    private let waitsForNodes: Bool
    /// Of this object's thread: when the next address of a name is to be dialled.
    private var turns: [Int: UInt64] = [:]
    private var thread: pthread_t?

    /// How long an address is tried where there are others, and the pause before the next.
    private static let tryMilliseconds: Int32 = 1000
    private static let turnNanoseconds: UInt64 = 50_000_000
    /// So many handshakes in a row don't fail by chance.
    private static let enoughHandshakes = 3
    /// Messages of a node that may wait here.
    private static let mostWaiting: Int32 = 500
    private static let messagesInTurn = 100
    /// What a node says of itself.
    // ASCII
    private static let unasked: Set<String> = ["line", "gone", "stuck"]
    /// Bytes of the longest message a node may send.
    public static let longestMessage: Int64 = 64 << 20

    /// - Parameters:
    ///   - keys: the coordinator's own pair, where a node has a public key.
    ///   - waitsForNodes: false: where nobody listens, that is the answer.
    ///   - onUnasked: what a node says of itself, on this object's thread.
    ///   - onLost: a node that had been connected no longer is, on this object's thread.
    /// - Throws: `TransportError` or `SystemError` when sockets or the thread can't be had.
    public init(
        _ context: MessageContext, _ nodes: [Node], keys: CurveKeys?, livenessSeconds: Double,
        waitsForNodes: Bool = true,
        onUnasked: @escaping @Sendable (Int, ControlMessage) -> Void = { _, _ in },
        onLost: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws {
        self.onUnasked = onUnasked
        self.onLost = onLost
        self.waitsForNodes = waitsForNodes
        connections = try nodes.map { node in
            let socket = try Socket(context, ZMQ_DEALER)
            if let key = node.publicKey, let keys {
                socket.set(ZMQ_CURVE_PUBLICKEY, text: keys.publicKey)
                socket.set(ZMQ_CURVE_SECRETKEY, text: keys.secretKey)
                socket.set(ZMQ_CURVE_SERVERKEY, text: key)
            }
            socket.set(ZMQ_IPV6, 1)
            socket.set(ZMQ_LINGER, 200)
            socket.set(ZMQ_RCVHWM, Self.mostWaiting)
            socket.set(ZMQ_RECONNECT_IVL, 50)
            socket.set(ZMQ_RECONNECT_IVL_MAX, 500)
            socket.setWide(ZMQ_MAXMSGSIZE, Self.longestMessage)
            socket.watchLiveness(limitSeconds: livenessSeconds)
            return Connection(
                node: node, socket: socket, events: try ConnectionEvents(of: socket, in: context),
                lacksKey: node.publicKey != nil && keys == nil,
                hasOwnKey: keys.map { [$0.publicKey, $0.secretKey].contains(node.publicKey) } ?? false)
        }
        state = Monitor(State(standings: nodes.map { _ in Standing() }))
        bell = try WakePipe()
        for (index, connection) in connections.enumerated() where !connection.lacksKey {
            let endpoint = connection.node.endpoint
            guard HostAddresses.name(in: endpoint) == nil else {
                try lookUp(endpoint, of: index)
                continue
            }
            state.with { $0.standings[index].addresses = [endpoint] }
            try connection.socket.connect(ByteString(endpoint))
        }
        thread = try startThread("speaking to nodes") { [self] in serve() }
    }

    /// Ends the thread and closes the sockets; what is under way fails.
    public func close() {
        state.with { $0.isOver = true }
        bell.wake()
        if let thread { pthread_join(thread, nil) }
        for connection in connections {
            connection.socket.close()
            connection.events.socket.close()
        }
    }

    // MARK: From any thread

    /// Says something that has no answer.
    public func tell<Body: MessageBody>(_ node: Int, _ say: String, _ body: Body) {
        if let message = try? ControlMessage(say, body) { post(node, message) }
    }

    /// A question on its way.
    public struct Question: Sendable {
        let node: Int
        let id: Int
    }

    public func ask<Body: MessageBody>(_ node: Int, _ say: String, _ body: Body) throws -> Question {
        let id = number.next()
        state.with { $0.standings[node].answers[id] = .some(nil) }
        post(node, try ControlMessage(say, id: id, body))
        return Question(node: node, id: id)
    }

    /// Waits for the answer.
    /// - Throws: `NoAnswer` with what is known of the node, at the deadline (CLOCK_MONOTONIC nanoseconds) or when it is
    ///   certain that none will come; `Refused` when the node says no.
    public func answer(to question: Question, until deadline: UInt64) throws -> ControlMessage {
        defer { state.with { $0.standings[question.node].answers[question.id] = nil } }
        let lacksKey = connections[question.node].lacksKey
        enum Outcome { case message(ControlMessage), hopeless }
        let outcome = state.wait(until: deadline) { state -> Outcome? in
            if case .some(.some(let message)) = state.standings[question.node].answers[question.id] {
                return .message(message)
            }
            let standing = state.standings[question.node]
            let isHopeless =
                state.isOver || state.isAbandoned || lacksKey || standing.isRefused || standing.isMuddled
                || standing.failedHandshakes >= Self.enoughHandshakes
                || standing.wasConnected && !standing.isConnected
                || standing.unresolved != nil
                || !waitsForNodes && !standing.wasConnected
                    && standing.retries >= max(3, standing.addresses?.count ?? 0)
            return isHopeless ? .hopeless : nil
        }
        guard case .message(let message) = outcome else {
            throw NoAnswer(node: connections[question.node].node.name, cause: cause(question.node))
        }
        if message.say == "refused", let refused = message.body(Refused.self) { throw refused }
        return message
    }

    /// Gives up every wait under way.
    public func abandon() { state.with { $0.isAbandoned = true } }

    private func cause(_ node: Int) -> String {
        let standing = state.with { $0.standings[node] }
        let endpoint = connections[node].node.endpoint
        if connections[node].lacksKey {
            return "it has a key, so this side needs one: --key FILE, made by `hermes keygen`"
        }
        if let reason = standing.unresolved {
            let name = HostAddresses.name(in: endpoint) ?? endpoint
            return "the name \(name) of \(endpoint) can't be resolved: \(reason); correct `endpoint:`, or see to "
                + "/etc/hosts and the name servers (`getent hosts \(name)`)"
        }
        guard let addresses = standing.addresses else {
            return "the name in \(endpoint) is still being looked up; are the name servers there? (`getent hosts`)"
        }
        if standing.isRefused {
            return "the node at \(endpoint) does not accept this key; add its public key to the node's --accept"
        }
        if standing.failedHandshakes > 0 && !standing.wasConnected && connections[node].hasOwnKey {
            return
                "no handshake with \(endpoint): `key:` of the host is your own key; write the node's there, the line "
                + "of the .pub file that `hermes keygen` made on it"
        }
        if standing.failedHandshakes > 0 && !standing.wasConnected {
            return connections[node].node.publicKey == nil
                ? "the node at \(endpoint) wants keys; give its public key as `key:` of the host, and your own with --key"
                : "no handshake with \(endpoint): `key:` of the host is not that node's, the node has no key, or that is no "
                    + "hermes-node"
        }
        if standing.isMuddled { return "the node at \(endpoint) sent what answers no question" }
        if standing.wasConnected && !standing.isConnected { return "lost the node at \(endpoint)" }
        if standing.isConnected { return "the node at \(endpoint) does not answer" }
        if standing.retries > 0 {
            let tried = addresses == [endpoint] ? "" : " (tried \(addresses.joined(separator: ", ")))"
            return "nobody listens at \(endpoint)\(tried); start hermes-node there"
        }
        return "\(endpoint) is not reached; check the address and firewalls"
    }

    /// The endpoint of a node in numbers: by the address at which it was met, where its name has several.
    public func reached(_ node: Int) -> String {
        state.with { state in
            let standing = state.standings[node]
            return standing.addresses.flatMap { $0.indices.contains(standing.dialled) ? $0[standing.dialled] : nil }
                ?? connections[node].node.endpoint
        }
    }

    /// The resolver may wait for name servers, longer than anybody here wants to.
    private func lookUp(_ endpoint: String, of node: Int) throws {
        let state = state
        try startDetachedThread("looking up a name") {
            do throws(HostAddresses.Unresolved) {
                let found = try HostAddresses.endpoints(of: endpoint)
                state.with { $0.standings[node].addresses = found }
            } catch {
                state.with { $0.standings[node].unresolved = error.reason }
            }
        }
    }

    private func post(_ node: Int, _ message: ControlMessage) {
        outgoing.withLock { $0.append((node, message)) }
        bell.wake()
    }

    // MARK: The thread

    private func serve() {
        // Their names may have been found by now, but nobody has dialled them.
        var sought = Set(
            connections.indices.filter {
                !connections[$0].lacksKey && HostAddresses.name(in: connections[$0].node.endpoint) != nil
            })
        while !state.with({ $0.isOver }) {
            var items = connections.flatMap { [$0.socket.readable, $0.events.socket.readable] }
            items.append(readable(bell.descriptor))
            poll(&items, milliseconds: sought.isEmpty && turns.isEmpty ? -1 : 10)
            bell.drain()
            for index in sought where !isSought(index) {
                sought.remove(index)
                dial(index, 0)
            }
            for (index, due) in turns where monotonicNow() >= due { dialNext(index) }
            sendOutgoing()
            for index in connections.indices {
                takeEvents(index)
                // A few at a time: one that says a lot keeps nobody else from being heard.
                for _ in 0..<Self.messagesInTurn {
                    guard let parts = connections[index].socket.receive() else { break }
                    take(parts.last ?? [], from: index)
                }
            }
            sendOutgoing()
        }
        sendOutgoing()
    }

    /// Its name is still being looked up.
    private func isSought(_ node: Int) -> Bool {
        state.with { $0.standings[node].addresses == nil && $0.standings[node].unresolved == nil }
    }

    private func hasOtherAddresses(_ node: Int) -> Bool {
        state.with { !$0.standings[node].wasConnected && ($0.standings[node].addresses?.count ?? 0) > 1 }
    }

    private func dial(_ node: Int, _ place: Int) {
        guard let addresses = state.with({ $0.standings[node].addresses }), addresses.indices.contains(place) else {
            return
        }
        if addresses.count > 1 { connections[node].socket.set(ZMQ_CONNECT_TIMEOUT, Self.tryMilliseconds) }
        state.with { $0.standings[node].dialled = place }
        try? connections[node].socket.connect(ByteString(addresses[place]))
    }

    /// Leaves an address that did not answer for the next one of the name.
    private func dialNext(_ node: Int) {
        turns[node] = nil
        let standing = state.with { $0.standings[node] }
        guard !standing.wasConnected, let addresses = standing.addresses, addresses.count > 1 else { return }
        connections[node].socket.disconnect(ByteString(addresses[standing.dialled]))
        dial(node, (standing.dialled + 1) % addresses.count)
    }

    /// What is said to a node that may be at another address waits here: with the connection it would be lost.
    private func sendOutgoing() {
        let ready = state.with { state in
            state.standings.map { $0.wasConnected || $0.addresses?.count == 1 }
        }
        let messages = outgoing.withLock { outgoing in
            defer { outgoing.removeAll { ready[$0.node] } }
            return outgoing.filter { ready[$0.node] }
        }
        for (node, message) in messages { connections[node].socket.send([message.encoded]) }
    }

    private func take(_ bytes: [UInt8], from node: Int) {
        guard let message = bytes.withUnsafeBytes({ ControlMessage($0) }),
            message.id == 0 ? Self.unasked.contains(message.say) : message.id > 0 && message.id <= number.last
        else { return state.with { $0.standings[node].isMuddled = true } }
        if message.id == 0 { return onUnasked(node, message) }
        state.with { state in
            // Nobody may wait for it any more.
            guard state.standings[node].answers[message.id] != nil else { return }
            state.standings[node].answers[message.id] = .some(message)
        }
    }

    private func takeEvents(_ node: Int) {
        while let event = connections[node].events.next() {
            let wasLost = state.with { state -> Bool in
                var standing = state.standings[node]
                defer { state.standings[node] = standing }
                switch event {
                case .connected:
                    standing.isConnected = true
                    standing.wasConnected = true
                    standing.failedHandshakes = 0
                case .disconnected:
                    let wasLost = standing.isConnected
                    standing.isConnected = false
                    // A node without keys that is asked with keys, or the other way round, just hangs up.
                    if !standing.wasConnected { standing.failedHandshakes += 1 }
                    return wasLost
                case .refusedHere: standing.isRefused = true
                case .handshakeFailed: standing.failedHandshakes += 1
                case .notUnderstood: standing.failedHandshakes = Self.enoughHandshakes
                case .retried: standing.retries += 1
                case .accepted: break
                }
                return false
            }
            if wasLost { onLost(node) }
            if event != .connected, turns[node] == nil, hasOtherAddresses(node) {
                turns[node] = monotonicNow() + Self.turnNanoseconds
            }
        }
    }
}
