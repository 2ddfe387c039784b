import CZeroMQ
import HermesSystem

/// Decides who may speak to the sockets of a context, before a word of theirs is read: the ZAP handler (ZeroMQ RFC 27), on
/// a thread of its own that ends with the context.
public final class Authenticator: @unchecked Sendable {
    public enum Policy: Sendable {
        /// Those whose public key passes.
        case curve(accepts: @Sendable (_ publicKey: String) -> Bool)
        /// Those who know the password.
        case plain(password: String)
    }

    private let socket: Socket
    private let policy: Policy
    private let onRefusal: @Sendable (_ address: String, _ publicKey: String?) -> Void

    /// - Parameter onRefusal: called on the handler's thread.
    /// - Throws: `TransportError` or `SystemError` when there is no socket or thread for it.
    public static func start(
        in context: MessageContext, _ policy: Policy,
        onRefusal: @escaping @Sendable (_ address: String, _ publicKey: String?) -> Void
    ) throws {
        let handler = Authenticator(try Socket(context, ZMQ_REP), policy, onRefusal)
        // Bound before anybody listens: without a handler libzmq lets everybody in.
        try handler.socket.bind("inproc://zeromq.zap.01")
        try startDetachedThread("looking at who may speak") { handler.serve() }
    }

    private init(
        _ socket: Socket, _ policy: Policy, _ onRefusal: @escaping @Sendable (String, String?) -> Void
    ) {
        self.socket = socket
        self.policy = policy
        self.onRefusal = onRefusal
    }

    private func serve() {
        while true {
            var items = [socket.readable]
            guard zmq_poll(&items, 1, -1) >= 0 || zmq_errno() == EINTR else { break }
            while let request = socket.receive() { answer(request) }
        }
        socket.close()
    }

    /// Version, request, domain, address, identity, mechanism, credentials...
    private func answer(_ request: [[UInt8]]) {
        guard request.count >= 6 else { return }
        let isAccepted = accepts(request)
        if !isAccepted {
            let address = String(decoding: request[3], as: UTF8.self)
            onRefusal(address.hasPrefix("::ffff:") ? String(address.dropFirst(7)) : address, Self.publicKey(request))
        }
        let (code, text) = isAccepted ? ("200", "OK") : ("400", "not accepted")
        socket.send([request[0], request[1], Array(code.utf8), Array(text.utf8), [], []])
    }

    private func accepts(_ request: [[UInt8]]) -> Bool {
        switch policy {
        case .curve(let accepts): Self.publicKey(request).map(accepts) ?? false
        case .plain(let password):
            request[5] == Array("PLAIN".utf8) && request.count >= 8 && Self.isEqual(request[7], Array(password.utf8))
        }
    }

    private static func publicKey(_ request: [[UInt8]]) -> String? {
        guard request[5] == Array("CURVE".utf8), request.count >= 7, request[6].count == 32 else { return nil }
        var text = [CChar](repeating: 0, count: 41)
        guard zmq_z85_encode(&text, request[6], 32) != nil else { return nil }
        return String(decoding: text.prefix(40).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Takes as long for any two texts of one length.
    private static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
