import HermesProtocol
import HermesTransport

/// What a node says: to each caller in order, and as soon as it takes it.
final class Outbox {
    typealias Caller = NodeListener.Caller

    private let listener: NodeListener
    private var waiting: [(message: ControlMessage, caller: Caller)] = []
    /// Of all callers. One that asks and asks and never reads loses answers.
    private static let most = 1000

    init(_ listener: NodeListener) { self.listener = listener }

    var isEmpty: Bool { waiting.isEmpty }

    func send(_ message: ControlMessage, to caller: Caller) {
        guard waiting.contains(where: { $0.caller == caller }) || !listener.send(message, to: caller) else { return }
        if waiting.count < Self.most { waiting.append((message, caller)) }
    }

    func tell<Body: MessageBody>(_ say: String, _ body: Body, to caller: Caller) {
        if let message = try? ControlMessage(say, body) { send(message, to: caller) }
    }

    /// Says something that may be lost. False when it is.
    func offer<Body: MessageBody>(_ say: String, _ body: Body, to caller: Caller) -> Bool {
        guard !waiting.contains(where: { $0.caller == caller }), let message = try? ControlMessage(say, body) else {
            return false
        }
        return listener.send(message, to: caller)
    }

    /// Sends what waits, as far as it is taken now.
    func retry() {
        var full: Set<Caller> = []
        waiting.removeAll { message, caller in
            if full.contains(caller) { return false }
            if listener.send(message, to: caller) { return true }
            full.insert(caller)
            return false
        }
    }
}
