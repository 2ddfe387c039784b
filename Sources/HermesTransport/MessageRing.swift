import CZeroMQ

/// Messages in the order they came, with who sent each. Takes memory only when more wait than before, and gives it back
/// when many have waited and none does any more.
struct MessageRing {
    private var slots: UnsafeMutablePointer<zmq_msg_t>
    private var senders: UnsafeMutablePointer<Int>
    private(set) var capacity = 8
    /// Room that stays, however many have waited.
    static let standing = 1024
    private var first = 0
    /// Bytes of the messages that wait.
    private(set) var bytes = 0
    private(set) var count = 0

    init() {
        slots = .allocate(capacity: capacity)
        senders = .allocate(capacity: capacity)
        for index in 0..<capacity { zmq_msg_init(slots + index) }
    }

    var isEmpty: Bool { count == 0 }

    /// Takes the message over.
    mutating func append(_ message: inout zmq_msg_t, from sender: Int) {
        if count == capacity { resize(to: capacity * 2) }
        let at = (first + count) % capacity
        bytes += zmq_msg_size(&message)
        zmq_msg_move(slots + at, &message)
        zmq_msg_close(&message)
        senders[at] = sender
        count += 1
    }

    /// Replaces what `target` holds; the sender.
    @discardableResult
    mutating func takeFirst(into target: UnsafeMutablePointer<zmq_msg_t>) -> Int {
        bytes -= zmq_msg_size(slots + first)
        zmq_msg_move(target, slots + first)
        let sender = senders[first]
        first = (first + 1) % capacity
        count -= 1
        if count == 0 && capacity > Self.standing { resize(to: Self.standing) }
        return sender
    }

    private mutating func resize(to size: Int) {
        let more = UnsafeMutablePointer<zmq_msg_t>.allocate(capacity: size)
        let moreSenders = UnsafeMutablePointer<Int>.allocate(capacity: size)
        for index in 0..<size { zmq_msg_init(more + index) }
        for index in 0..<count {
            zmq_msg_move(more + index, slots + (first + index) % capacity)
            moreSenders[index] = senders[(first + index) % capacity]
        }
        release()
        (slots, senders) = (more, moreSenders)
        (first, capacity) = (0, size)
    }

    /// Gives the memory back; the ring must not be used afterwards.
    func release() {
        for index in 0..<capacity { zmq_msg_close(slots + index) }
        slots.deallocate()
        senders.deallocate()
    }
}
