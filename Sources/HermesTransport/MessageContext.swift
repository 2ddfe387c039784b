import CZeroMQ
import Glibc
import HermesSystem

/// A ZeroMQ context: the threads that move messages for a group of sockets.
public final class MessageContext: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    /// Threads that libzmq starts for a context, and descriptors that they and the first sockets take, with room to spare.
    private static let threads = 2, descriptors = 32

    /// Has libzmq start its threads.
    /// - Throws: `SystemError` when threads or descriptors are short: libzmq ends the process where it gets none.
    public init() throws {
        try Self.checkRoom()
        guard let pointer = zmq_ctx_new() else { throw TransportError("can't make a ZeroMQ context") }
        self.pointer = pointer
        // A socket that closes drops what it could not send: nobody waits for a host that is gone.
        zmq_ctx_set(pointer, ZMQ_BLOCKY, 0)
        // Now, while there is room for them.
        guard let first = zmq_socket(pointer, ZMQ_PAIR) else {
            let error = TransportError("can't make a socket")
            zmq_ctx_term(pointer)
            throw error
        }
        zmq_close(first)
    }

    /// Takes as many threads and descriptors as libzmq is about to, and gives them back.
    private static func checkRoom() throws(SystemError) {
        var taken: [Int32] = []
        defer { taken.forEach { Glibc.close($0) } }
        for _ in 0..<descriptors {
            let descriptor = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw SystemError("can't open the descriptors that messages need") }
            taken.append(descriptor)
        }
        let isOver = Monitor(false)
        var started: [pthread_t] = []
        defer {
            isOver.with { $0 = true }
            started.forEach { pthread_join($0, nil) }
        }
        for _ in 0..<threads {
            started.append(
                try startThread("messages") { isOver.wait(until: deadline(after: 0)) { $0 ? () : nil } })
        }
    }

    /// Waits until every socket of it is closed.
    public func close() { zmq_ctx_term(pointer) }
}

/// What went wrong with a socket, in one sentence.
public struct TransportError: Error, Sendable, CustomStringConvertible {
    /// errno, as ZeroMQ knows it.
    public var code: Int32
    public var description: String

    init(_ what: String, code: Int32 = zmq_errno()) {
        self.code = code
        description = "\(what): \(String(cString: zmq_strerror(code)))"
    }

    public init(text: String) {
        code = 0
        description = text
    }
}

/// One ZeroMQ socket. Used by one thread at a time, as ZeroMQ asks.
final class Socket: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    private var isOpen = true
    /// By which connection the last message came.
    private(set) var sourceDescriptor: Int32 = -1

    init(_ context: MessageContext, _ kind: Int32) throws {
        guard let pointer = zmq_socket(context.pointer, kind) else { throw TransportError("can't make a socket") }
        self.pointer = pointer
    }

    deinit { close() }

    func close() {
        if isOpen { zmq_close(pointer) }
        isOpen = false
    }

    func set(_ option: Int32, _ value: Int32) {
        var value = value
        let code = zmq_setsockopt(pointer, option, &value, MemoryLayout<Int32>.size)
        precondition(code == 0, "libzmq refuses option \(option): \(String(cString: zmq_strerror(zmq_errno())))")
    }

    func setWide(_ option: Int32, _ value: Int64) {
        var value = value
        let code = zmq_setsockopt(pointer, option, &value, MemoryLayout<Int64>.size)
        precondition(code == 0, "libzmq refuses option \(option): \(String(cString: zmq_strerror(zmq_errno())))")
    }

    func set(_ option: Int32, bytes: [UInt8]) {
        let code = zmq_setsockopt(pointer, option, bytes, bytes.count)
        precondition(code == 0, "libzmq refuses option \(option): \(String(cString: zmq_strerror(zmq_errno())))")
    }

    func set(_ option: Int32, text: String) { set(option, bytes: Array(text.utf8)) }

    /// Ends a connection of which nothing was heard for 80 to 90 % of the limit, so that the rest is there to say so and to
    /// end. Not earlier, for after an outage TCP takes its time; and no more heartbeats, for with few packets under way it
    /// takes less (`ConnectionEvents.triesEvenly`).
    func watchLiveness(limitSeconds: Double) {
        let milliseconds = max(limitSeconds, 0.1) * 1000
        set(ZMQ_HEARTBEAT_IVL, Int32(milliseconds * 0.1))
        set(ZMQ_HEARTBEAT_TIMEOUT, Int32(milliseconds * 0.8))
    }

    func unbind(_ endpoint: ByteString) { zmq_unbind(pointer, endpoint.cString) }

    func bind(_ endpoint: ByteString) throws {
        if zmq_bind(pointer, endpoint.cString) != 0 { throw TransportError("can't listen on \(endpoint)") }
    }

    func connect(_ endpoint: ByteString) throws {
        if zmq_connect(pointer, endpoint.cString) != 0 { throw TransportError("can't connect to \(endpoint)") }
    }

    func disconnect(_ endpoint: ByteString) { _ = endpoint.withCString { zmq_disconnect(pointer, $0) } }

    /// The parts of the next message, nil when none is there.
    /// - Parameter most: parts beyond this many are dropped; nobody has use for them.
    func receive(most: Int = 16) -> [[UInt8]]? {
        var parts: [[UInt8]] = []
        while true {
            var message = zmq_msg_t()
            zmq_msg_init(&message)
            defer { zmq_msg_close(&message) }
            guard zmq_msg_recv(&message, pointer, ZMQ_DONTWAIT) >= 0 else { return nil }
            let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))
            if parts.count < most { parts.append(Array(bytes)) }
            sourceDescriptor = zmq_msg_get(&message, Int32(HERMES_ZMQ_SOURCE_DESCRIPTOR))
            if zmq_msg_more(&message) == 0 { return parts }
        }
    }

    /// False when it can't be sent now.
    @discardableResult
    func send(_ parts: [[UInt8]]) -> Bool {
        for (index, part) in parts.enumerated() {
            let more = index < parts.count - 1 ? ZMQ_SNDMORE : 0
            if zmq_send(pointer, part, part.count, ZMQ_DONTWAIT | more) < 0 { return false }
        }
        return true
    }

    /// Readable when something may have happened to the socket since it was used last.
    var descriptor: Int32 {
        var descriptor: Int32 = -1, size = MemoryLayout<Int32>.size
        zmq_getsockopt(pointer, ZMQ_FD, &descriptor, &size)
        return descriptor
    }

    var readable: zmq_pollitem_t { zmq_pollitem_t(socket: pointer, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0) }
}

/// What `zmq_poll` watches of a descriptor.
func readable(_ descriptor: Int32) -> zmq_pollitem_t {
    zmq_pollitem_t(socket: nil, fd: descriptor, events: Int16(ZMQ_POLLIN), revents: 0)
}

/// Sleeps until one of the items can be read, at most this long; -1 for ever. Where that fails it sleeps a little: a loop
/// around it does not spin.
func poll(_ items: inout [zmq_pollitem_t], milliseconds: Int) {
    guard zmq_poll(&items, Int32(items.count), milliseconds) < 0 else { return }
    for index in items.indices { items[index].revents = 0 }
    if zmq_errno() != EINTR { usleep(10_000) }
}
