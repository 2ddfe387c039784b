import FoundationEssentials
import Glibc
import HermesProtocol
import Synchronization

/// Control messages as lines over a stream socket, between a node and the processes that run its simulations.
final class LineChannel: Sendable {
    let descriptor: Int32
    private let pending = Mutex<[UInt8]>([])
    private let sending = Mutex(())

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// From any thread. A reader that does not read is not waited for longer than a second.
    func send(_ message: ControlMessage) {
        sending.withLock { _ in
            let bytes = message.encoded + [UInt8(ascii: "\n")]
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(
                        descriptor, $0.baseAddress! + sent, bytes.count - sent,
                        Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                }
                if count > 0 {
                    sent += count
                } else if errno == EAGAIN {
                    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    if Glibc.poll(&ready, 1, 1000) <= 0 { return }
                } else if errno != EINTR {
                    return
                }
            }
        }
    }

    /// What has come; nil when the other side is gone.
    func receive() -> [ControlMessage]? {
        var room = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &room, room.count, Int32(MSG_DONTWAIT))
        if count < 0 { return errno == EAGAIN || errno == EINTR ? [] : nil }
        guard count > 0 else { return nil }
        return pending.withLock { pending in
            pending += room[..<count]
            var messages: [ControlMessage] = []
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                if let message = pending[..<end].withUnsafeBytes({ ControlMessage($0) }) { messages.append(message) }
                pending.removeFirst(end + 1)
            }
            return messages
        }
    }

    /// Waits for one message; nil when the other side is gone.
    func next() -> ControlMessage? {
        while true {
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&ready, 1, -1)
            guard let messages = receive() else { return nil }
            if let first = messages.first { return first }
        }
    }
}
