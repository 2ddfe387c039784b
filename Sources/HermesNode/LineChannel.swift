import FoundationEssentials
import Glibc
import HermesProtocol
import HermesSystem
import Synchronization

/// Control messages as lines over a stream socket, between a node and the processes that run its simulations.
final class LineChannel: Sendable {
    let descriptor: Int32
    private let pending = Mutex<[UInt8]>([])
    /// Of a line that was begun: what the socket did not take.
    private let unsent = Mutex<[UInt8]>([])

    /// Bytes of the longest message there is, with room to spare; the plan and its values go another way.
    private static let longest = 4 << 20

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    // MARK: Sending, from any thread

    /// A reader that does not read is not waited for longer than a second.
    func send(_ message: ControlMessage) {
        unsent.withLock { unsent in
            guard unsent.count < Self.longest else { return }
            unsent += message.encoded + [UInt8(ascii: "\n")]
            drain(&unsent)
        }
    }

    /// Sends a message that may be lost: nobody waits. False when others are before it and nobody reads them.
    func offer(_ message: () -> ControlMessage?) -> Bool {
        unsent.withLockIfAvailable { unsent in
            push(&unsent)
            guard unsent.isEmpty, let message = message() else { return false }
            unsent = message.encoded + [UInt8(ascii: "\n")]
            push(&unsent)
            return true
        } ?? false
    }

    /// Sends the rest of what was begun, as `send` does.
    func flush() { unsent.withLock { drain(&$0) } }

    private func drain(_ unsent: inout [UInt8]) {
        let limit = monotonicNow() + 1_000_000_000
        while true {
            push(&unsent)
            let now = monotonicNow()
            guard !unsent.isEmpty, now < limit else { return }
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = Glibc.poll(&ready, 1, Int32((limit - now) / 1_000_000) + 1)
        }
    }

    /// As much as the socket takes now; all is gone when the other side is.
    private func push(_ unsent: inout [UInt8]) {
        var sent = 0
        while sent < unsent.count {
            let count = unsent.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                sent = unsent.count
            }
        }
        unsent.removeFirst(sent)
    }

    // MARK: Receiving

    /// What has come; nil when the other side is gone.
    /// - Parameter most: bytes to take.
    func receive(most: Int = 1 << 16) -> [ControlMessage]? {
        var room = [UInt8](repeating: 0, count: most)
        let count = recv(descriptor, &room, room.count, Int32(MSG_DONTWAIT))
        if count < 0 { return errno == EAGAIN || errno == EINTR ? [] : nil }
        guard count > 0 else { return nil }
        return pending.withLock { pending in
            let known = pending.count
            pending += room[..<count]
            var messages: [ControlMessage] = []
            var begin = 0
            var search = known
            while let end = pending[search...].firstIndex(of: UInt8(ascii: "\n")) {
                if let message = pending[begin..<end].withUnsafeBytes({ ControlMessage($0) }) {
                    messages.append(message)
                }
                begin = end + 1
                search = begin
            }
            pending.removeFirst(begin)
            return pending.count > Self.longest ? nil : messages
        }
    }

    /// Waits for one message and takes no byte behind it: what else has come waits in the socket, where `poll` sees it. Nil
    /// when the other side is gone.
    func next() -> ControlMessage? {
        var room = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&ready, 1, -1)
            let waiting = recv(descriptor, &room, room.count, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK))
            if waiting < 0 && (errno == EAGAIN || errno == EINTR) { continue }
            guard waiting > 0 else { return nil }
            let end = room[..<waiting].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
            guard let messages = receive(most: end ?? waiting) else { return nil }
            if let first = messages.first { return first }
        }
    }
}
