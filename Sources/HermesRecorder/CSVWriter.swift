import Glibc
import HermesModel
import HermesProtocol
import Synchronization

/// Whether a recording has been given up, and since when.
final class Abandonment: Sendable {
    /// How long a recording that was given up may still take.
    static let graceMilliseconds = 1000
    private let since = Atomic<UInt64>(0)

    func begin() { _ = since.compareExchange(expected: 0, desired: Self.now(), ordering: .relaxed) }
    var hasBegun: Bool { since.load(ordering: .relaxed) != 0 }
    var isOver: Bool {
        let since = since.load(ordering: .relaxed)
        return since != 0 && Self.now() - since >= UInt64(Self.graceMilliseconds) * 1_000_000
    }

    private static func now() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}

/// The recording's own thread: rows out of the ring, as text, into the file.
final class CSVWriter: @unchecked Sendable {
    let path: String
    private let descriptor: Int32
    private let types: [SignalType]
    private let ring: RowRing
    private let abandonment: Abandonment
    /// Posted when `run` has returned.
    private let ended = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let stopping = Atomic<Bool>(false)
    private let failed = Atomic<Bool>(false)
    private var failureCode: Int32 = 0
    /// The frame of the last row that is in the file, whole; nil before the first.
    private var lastWhole: UInt64?
    /// The same of `text`.
    private var lastFormatted: UInt64?
    private var text: [UInt8] = []
    private static let blockSize = 1 << 16

    /// - Throws: `RunFailure` when the file can't be made or its header not be written.
    init(path: String, header: String, types: [SignalType], ring: RowRing, abandonment: Abandonment) throws {
        self.path = path
        self.types = types
        self.ring = ring
        self.abandonment = abandonment
        sem_init(ended, 0, 0)
        // A FIFO or a terminal that nobody takes from holds up no call that can't be given up.
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0o644)
        guard descriptor >= 0 else {
            if errno == ENXIO {
                throw RunFailure(.resource, cause: "the recording \(path) can't be written: nobody reads from it")
            }
            throw RunFailure(
                .resource, cause: "the recording \(path) can't be written: \(String(cString: strerror(errno)))")
        }
        text.reserveCapacity(2 * Self.blockSize)
        text += header.utf8
        text.append(UInt8(ascii: "\n"))
        flush()
        guard !hasFailed else { throw failure }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        sem_destroy(ended)
        ended.deallocate()
    }

    var hasFailed: Bool { failed.load(ordering: .acquiring) }
    var failure: RunFailure {
        if failureCode == EAGAIN { return incomplete }
        let reach = lastWhole.map { " and ends after frame \($0)" } ?? (lastFormatted == nil ? "" : " and has no row")
        return RunFailure(
            .resource,
            cause: "the recording \(path) can't be written\(reach): \(String(cString: strerror(failureCode)))")
    }

    /// What is said of a recording that was given up.
    var incomplete: RunFailure {
        RunFailure(.refused, cause: "the recording \(path) is incomplete: it was given up before all of it was written")
    }

    /// Writes what the ring holds and ends `run`.
    func stop() {
        stopping.store(true, ordering: .releasing)
        ring.wake()
    }

    /// True when `run` has returned, or does so within the time.
    func hasEnded(withinMilliseconds milliseconds: Int) -> Bool { ended.wait(milliseconds: milliseconds) }

    /// On a thread of its own.
    /// - Parameters:
    ///   - interval: rows reach the file this often, so that a killed run lacks little of its end.
    ///   - yields: gives way to all other threads, and writes little at a time: in realtime frames come first.
    func run(everyMilliseconds interval: Int, yields: Bool) {
        defer { sem_post(ended) }
        // Of this thread alone, on Linux.
        if yields { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19) }
        while true {
            let isLast = stopping.load(ordering: .acquiring)
            ring.takeAll { row in
                format(row)
                if text.count >= Self.blockSize { flush() }
            }
            flush()
            if isLast { return }
            ring.waitForRows(milliseconds: interval)
        }
    }

    private func format(_ row: UnsafePointer<UInt64>) {
        lastFormatted = row[0]
        append(row[0].description)
        text.append(UInt8(ascii: ","))
        append(SignalValue.number(row[1], .f64))
        for index in types.indices {
            text.append(UInt8(ascii: ","))
            append(SignalValue.number(row[index + 2], types[index]))
        }
        text.append(UInt8(ascii: "\n"))
    }

    private func append(_ field: String) { text.append(contentsOf: field.utf8) }

    /// Whole rows only. A failed write ends the file after the last row that is whole.
    private func flush() {
        guard !hasFailed else { return text.removeAll(keepingCapacity: true) }
        var sent = 0
        while sent < text.count {
            let count = text.withUnsafeBytes { write(descriptor, $0.baseAddress! + sent, $0.count - sent) }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN && !abandonment.isOver {
                var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&room, 1, 50)
            } else if errno != EINTR {
                failureCode = errno
                cutTo(sent)
                failed.store(true, ordering: .releasing)
                return text.removeAll(keepingCapacity: true)
            }
        }
        lastWhole = lastFormatted
        text.removeAll(keepingCapacity: true)
    }

    private func cutTo(_ sent: Int) {
        guard let lastRow = text[..<sent].lastIndex(of: UInt8(ascii: "\n")) else {
            if sent > 0 { truncate(by: sent) }
            return
        }
        // Its number stands first in it. The header is written by itself.
        let row = text[..<lastRow].split(separator: UInt8(ascii: "\n")).last
        if let digits = row?.prefix(while: { $0 != UInt8(ascii: ",") }) {
            lastWhole = UInt64(String(decoding: digits, as: UTF8.self)) ?? lastWhole
        }
        if lastRow + 1 < sent { truncate(by: sent - lastRow - 1) }
    }

    private func truncate(by surplus: Int) {
        let end = lseek(descriptor, 0, SEEK_CUR)
        if end >= surplus { ftruncate(descriptor, end - surplus) }
    }
}
