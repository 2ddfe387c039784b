import Glibc
import HermesSystem

/// Text for a descriptor. First it is written at once; from `writeInBackground` on a thread of its own writes it, and nobody
/// who prints ever waits for whoever reads.
final class OutputStream: @unchecked Sendable {
    /// What one line may find waiting before it.
    static let bound = 1 << 20
    /// A reader that takes nothing for so long is not waited for at the end.
    private static let patienceSeconds = 2.0
    /// The same for somebody in a hurry: enough for a reader who is there.
    private static let hurriedPatienceSeconds = 0.3

    // Everything below belongs to the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var waiting: [(descriptor: Int32, bytes: [UInt8])] = []
    /// Bytes that wait or are being written.
    private var pending = 0
    private var written = 0
    private var hasThread = false
    private var isLineOpen = false
    private var dropped = 0
    /// Why a descriptor takes no more.
    private var failures: [Int32: Int32] = [:]

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    /// To be called once the process forks no more.
    func writeInBackground() throws(SystemError) {
        try locked { () throws(SystemError) in
            guard !hasThread else { return }
            try startDetachedThread("what is printed") { [self] in writeForever() }
            hasThread = true
        }
    }

    /// Several lines are results; what is for people is one, whatever is in it (`PrintableText`).
    /// False when more than `limit` waits already: then the line is dropped.
    @discardableResult
    func line(_ text: String, to descriptor: Int32, limit: Int) -> Bool {
        let text = descriptor == 1 ? PrintableText.lines(text) : PrintableText.line(text)
        return locked {
            guard pending < limit else { return false }
            if isLineOpen { put(Self.clearLine, to: 2) }
            isLineOpen = false
            let notice = takeNotice()
            if !notice.isEmpty { put(notice, to: 2) }
            put(text + "\n", to: descriptor)
            return true
        }
    }

    /// A line that counts as a module's when it is dropped.
    func moduleLine(_ text: String) {
        if !line(text, to: 2, limit: Self.bound) { locked { dropped += 1 } }
    }

    /// Replaces the progress line, unless something waits: the next one is newer.
    func progress(_ text: String) {
        locked {
            guard pending == 0 else { return }
            // Cut at the right edge: a line that wraps can't be replaced.
            put(Self.clearLine + "\u{1B}[?7l" + PrintableText.line(text) + "\u{1B}[?7h", to: 2)
            isLineOpen = true
        }
    }

    /// Waits until everything is written, as long as somebody reads; where `isHurried` says so, only as long as a reader
    /// needs who is there at all. False when something was left.
    func flush(isHurried: () -> Bool) -> Bool {
        locked {
            let notice = takeNotice()
            if !notice.isEmpty { put(notice, to: 2) }
            var seen = written
            var movedAt = Self.now()
            while pending > 0 {
                if written != seen {
                    seen = written
                    movedAt = Self.now()
                }
                let patience = isHurried() ? Self.hurriedPatienceSeconds : Self.patienceSeconds
                guard Self.now() < movedAt + patience else { break }
                var limit = timespec()
                clock_gettime(CLOCK_REALTIME, &limit)
                limit.tv_nsec += 20_000_000
                if limit.tv_nsec >= 1_000_000_000 {
                    limit.tv_sec += 1
                    limit.tv_nsec -= 1_000_000_000
                }
                pthread_cond_timedwait(changed, mutex, &limit)
            }
            return pending == 0
        }
    }

    /// The errno value of the first write that failed; that nobody reads any more is no failure.
    func failure(of descriptor: Int32) -> Int32? {
        locked { failures[descriptor].flatMap { $0 == EPIPE ? nil : $0 } }
    }

    private static let clearLine = "\r\u{1B}[K"

    private func takeNotice() -> String {
        defer { dropped = 0 }
        return dropped == 0
            ? "" : "hermes: \(dropped) lines of modules dropped: standard error is read more slowly than they write\n"
    }

    private func put(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        guard hasThread else {
            Self.write(bytes, to: descriptor, { _ in }).map { failures[descriptor] = failures[descriptor] ?? $0 }
            return
        }
        guard failures[descriptor] == nil else { return }
        waiting.append((descriptor, bytes))
        pending += bytes.count
        pthread_cond_broadcast(changed)
    }

    private func writeForever() {
        pthread_mutex_lock(mutex)
        while true {
            while waiting.isEmpty { pthread_cond_wait(changed, mutex) }
            let batch = waiting
            waiting = []
            for (descriptor, bytes) in batch {
                let isBroken = failures[descriptor] != nil
                pthread_mutex_unlock(mutex)
                var sent = 0
                let failure =
                    isBroken
                    ? nil
                    : Self.write(bytes, to: descriptor) { count in
                        sent += count
                        locked {
                            pending -= count
                            written += count
                        }
                    }
                pthread_mutex_lock(mutex)
                pending -= bytes.count - sent
                if let failure { failures[descriptor] = failures[descriptor] ?? failure }
                pthread_cond_broadcast(changed)
            }
        }
    }

    /// Nil or an errno value.
    private static func write(_ bytes: [UInt8], to descriptor: Int32, _ progress: (Int) -> Void) -> Int32? {
        bytes.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress! + sent, bytes.count - sent)
                if count > 0 {
                    sent += count
                    progress(count)
                } else if count < 0 && errno == EAGAIN {
                    var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&entry, 1, -1)
                } else if count == 0 || errno != EINTR {
                    return count == 0 ? EIO : errno
                }
            }
            return nil
        }
    }

    private func locked<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    private static func now() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }
}
