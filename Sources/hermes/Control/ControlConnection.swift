import FoundationEssentials
import Glibc
import HermesSystem

/// One client of the control socket: requests that came and answers that wait, both bounded. Used by one thread.
final class ControlConnection {
    /// Bytes of a request.
    static let longestRequest = 16 << 20
    /// Requests that wait for their answers; while there are so many, no more are read.
    private static let mostPending = 16
    /// Answers that wait to be read; while there are so many bytes, no requests are read.
    private static let mostOutput = 256 << 10

    let socket: Int32
    let number: Int
    /// Let in above the limit, for what always works.
    let isGuest: Bool
    /// It asked for `stop`.
    var awaitsEnd = false
    /// To be closed.
    var isOver = false
    /// When it was heard of last, or took something.
    private(set) var lastActive = monotonicNow()
    /// Since when it has taken nothing of what waits for it.
    private(set) var stalledSince: UInt64?

    private var input: [UInt8] = []
    /// Of `input`: requests before it are taken, and up to `scanned` there is no end of another.
    private var begin = 0
    private var scanned = 0
    private var hasInputEnded = false
    private var output: [[UInt8]] = []
    /// Of the first of them.
    private var sent = 0
    private var outputCount = 0
    private var pending = 0
    /// One that is long, or whose answer is: until it is there no other is taken.
    private var hasLong = false

    init(_ socket: Int32, number: Int, isGuest: Bool) {
        self.socket = socket
        self.number = number
        self.isGuest = isGuest
    }

    /// To be called once: from then on the descriptor may be another file's.
    func close() { Glibc.close(socket) }

    /// Nothing that it asked for is under way.
    var isIdle: Bool { pending == 0 && !awaitsEnd }
    var inputCount: Int { input.count - begin }

    /// For people: which process, where the system says.
    var who: String {
        var credentials: [Int32] = [0, 0, 0]
        var size = socklen_t(12)
        guard getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 else { return "" }
        return " (pid \(credentials[0]))"
    }

    private var takesRequests: Bool { pending < Self.mostPending && !hasLong && outputCount < Self.mostOutput }

    var events: Int16 {
        let reads = !hasInputEnded && takesRequests ? POLLIN : 0
        return Int16(reads | (outputCount > 0 ? POLLOUT : 0))
    }

    /// By what `poll` said of it.
    func attend(_ revents: Int16) {
        if revents & Int16(POLLIN) != 0 { return receive() }
        // It is gone, both ways.
        if revents & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { isOver = true }
    }

    private func receive() {
        if begin > 1 << 16 || begin == input.count {
            input.removeFirst(begin)
            scanned -= begin
            begin = 0
        }
        let before = input.count, room = 1 << 16
        input.append(contentsOf: repeatElement(0, count: room))
        let count = input.withUnsafeMutableBytes { recv(socket, $0.baseAddress! + before, room, Int32(MSG_DONTWAIT)) }
        let code = errno
        input.removeLast(room - max(count, 0))
        if count > 0 {
            lastActive = monotonicNow()
        } else if count == 0 {
            hasInputEnded = true
        } else if code != EAGAIN && code != EINTR {
            isOver = true
        }
    }

    /// The next whole request, when it may have its turn.
    func nextRequest() -> Data? {
        guard !isOver, takesRequests else { return nil }
        let end = input.withUnsafeBytes { bytes -> Int? in
            guard scanned < bytes.count,
                let found = memchr(bytes.baseAddress! + scanned, 10, bytes.count - scanned)
            else { return nil }
            return UnsafeRawPointer(found) - bytes.baseAddress!
        }
        guard let end else {
            scanned = input.count
            if input.count - begin > Self.longestRequest {
                dismissTooLong()
            } else if hasInputEnded && pending == 0 && outputCount == 0 {
                isOver = true
            }
            return nil
        }
        guard end - begin <= Self.longestRequest else {
            dismissTooLong()
            return nil
        }
        defer { (begin, scanned) = (end + 1, end + 1) }
        return Data(input[begin..<end])
    }

    private func dismissTooLong() { dismiss("a request may have \(Self.longestRequest >> 20) MiB") }

    /// Requests may lie in what has come already: they were left while answers waited, which are gone by now.
    var hasUnscanned: Bool { !isOver && takesRequests && scanned < input.count }

    func begin(isLong: Bool) {
        pending += 1
        hasLong = hasLong || isLong
    }

    /// The answer to one request.
    func take(_ answer: ControlAnswer, isAwaitedAlone: Bool) {
        pending -= 1
        if isAwaitedAlone { hasLong = false }
        put(answer.line)
    }

    private func put(_ line: [UInt8]) {
        if outputCount == 0 { stalledSince = monotonicNow() }
        output.append(line)
        outputCount += line.count
    }

    /// Hands the system what it takes.
    func flush() {
        var next = 0
        defer {
            output.removeFirst(next)
            if outputCount == 0 { stalledSince = nil }
            if hasInputEnded && pending == 0 && outputCount == 0 && inputCount == 0 { isOver = true }
        }
        while next < output.count {
            let line = output[next]
            let count = line.withUnsafeBytes {
                send(socket, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            guard count > 0 else {
                if count < 0 && errno != EAGAIN && errno != EINTR { isOver = true }
                return
            }
            lastActive = monotonicNow()
            stalledSince = lastActive
            sent += count
            outputCount -= count
            if sent == line.count { (sent, next) = (0, next + 1) }
        }
    }

    /// Says why, as far as it reads, and takes no more.
    func dismiss(_ reason: String) {
        hasInputEnded = true
        (input, begin, scanned) = ([], 0, 0)
        put(ControlAnswer.refused(reason).line)
        flush()
        isOver = true
    }
}
