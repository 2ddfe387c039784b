import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import Synchronization

/// Whether a recording has been given up, and since when.
final class Abandonment: Sendable {
    /// How long a recording that was given up may still take.
    static let graceMilliseconds = 1000
    private let since = Atomic<UInt64>(0)

    func begin() { _ = since.compareExchange(expected: 0, desired: monotonicNow(), ordering: .relaxed) }
    var hasBegun: Bool { since.load(ordering: .relaxed) != 0 }
    var isOver: Bool {
        let since = since.load(ordering: .relaxed)
        return since != 0 && monotonicNow() - since >= UInt64(Self.graceMilliseconds) * 1_000_000
    }
}

/// The recording's own thread: rows out of the ring, as text, into the file.
final class CSVWriter: @unchecked Sendable {
    let file: OutputFile
    private var descriptor: Int32 { file.descriptor }
    private let types: [SignalType]
    private let ring: RowRing
    private let abandonment: Abandonment
    /// Posted when `run` has returned.
    private let ended = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let stopping = Atomic<Bool>(false)
    private let failed = Atomic<Bool>(false)
    private var failureCode: Int32 = 0
    /// The frame of the last row that is in the file, whole; nil before the first.
    private(set) var lastWhole: UInt64?
    /// The same of `text`.
    private var lastFormatted: UInt64?
    private var text: [UInt8] = []
    private static let blockSize = 1 << 16

    /// - Throws: `RunFailure` when the file can't be made or its header not be written.
    init(file: OutputFile, header: String, types: [SignalType], ring: RowRing, abandonment: Abandonment) throws {
        self.file = file
        self.types = types
        self.ring = ring
        self.abandonment = abandonment
        sem_init(ended, 0, 0)
        do throws(OutputError) {
            try file.begin()
        } catch {
            throw RunFailure(.resource, cause: "the recording \(error)")
        }
        text.reserveCapacity(2 * Self.blockSize)
        text += header.utf8
        text.append(UInt8(ascii: "\n"))
        flush()
        guard !hasFailed else { throw failure }
    }

    deinit {
        sem_destroy(ended)
        ended.deallocate()
    }

    var hasFailed: Bool { failed.load(ordering: .acquiring) }
    var failure: RunFailure {
        if failureCode == EAGAIN { return incomplete }
        let reach = lastWhole.map { " and ends after frame \($0)" } ?? (lastFormatted == nil ? "" : " and has no row")
        return RunFailure(
            .resource,
            cause: "the recording \(file.path) can't be written\(reach): \(SystemError.reason(failureCode))")
    }

    /// What is said of a recording that was given up.
    var incomplete: RunFailure {
        RunFailure(
            .refused, cause: "the recording \(file.path) is incomplete: it was given up before all of it was written")
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
            let piece = file.isInherited ? pieceForOthers(from: sent) : text.count - sent
            let count = piece == 0 ? -1 : text.withUnsafeBytes { write(descriptor, $0.baseAddress! + sent, piece) }
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

    /// What can be written to a descriptor that others share, and that may therefore block: nothing (errno says to wait)
    /// until it has room, then whole rows as far as one piece of a pipe holds them, so that they don't mix with what
    /// others print.
    private func pieceForOthers(from sent: Int) -> Int {
        var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&room, 1, 0) > 0 else {
            errno = EAGAIN
            return 0
        }
        let piece = text[sent..<min(text.count, sent + Self.pipePiece)]
        let end = piece.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? piece.endIndex
        return end - sent
    }
    /// PIPE_BUF.
    private static let pipePiece = 4096

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
        // Behind what others wrote there is nothing to cut.
        var status = stat()
        guard end >= surplus, fstat(descriptor, &status) == 0, status.st_size == end else { return }
        if ftruncate(descriptor, end - surplus) == 0 { lseek(descriptor, end - surplus, SEEK_SET) }
    }
}
