import CZeroMQ
import HermesSystem
import Synchronization

/// Wakes the thread that sleeps in a socket's receive, by a message from within the process.
final class Bell: Sendable {
    /// Who rings, as the socket sees it: no participant's name is as short.
    static let name: [UInt8] = [UInt8(ascii: "!")]
    private static let number = SerialNumber()
    private let socket: Mutex<Socket?>

    init(for woken: Socket, in context: MessageContext) throws {
        let address: ByteString = "inproc://bell-\(Self.number.next())"
        try woken.bind(address)
        let socket = try Socket(context, ZMQ_DEALER)
        socket.set(ZMQ_ROUTING_ID, bytes: Self.name)
        try socket.connect(address)
        self.socket = Mutex(socket)
    }

    /// From any thread.
    func ring() { socket.withLock { _ = $0?.send([[]]) } }

    func close() {
        socket.withLock { socket in
            socket?.close()
            socket = nil
        }
    }
}
