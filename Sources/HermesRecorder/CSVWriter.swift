import Glibc
import HermesModel
import HermesProtocol
import Synchronization

/// The recording's own thread: rows out of the ring, as text, into the file.
final class CSVWriter: @unchecked Sendable {
    let path: String
    private let descriptor: Int32
    private let types: [SignalType]
    private let ring: RowRing
    private let stopping = Atomic<Bool>(false)
    private let failed = Atomic<Bool>(false)
    private var failureCode: Int32 = 0
    private var text: [UInt8] = []
    private static let blockSize = 1 << 16

    /// - Throws: `RunFailure` when the file can't be made or its header not be written.
    init(path: String, header: String, types: [SignalType], ring: RowRing) throws {
        self.path = path
        self.types = types
        self.ring = ring
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw RunFailure(
                .resource, cause: "the recording \(path) can't be written: \(String(cString: strerror(errno)))")
        }
        text.reserveCapacity(2 * Self.blockSize)
        text += header.utf8
        text.append(UInt8(ascii: "\n"))
        flush()
        guard !hasFailed else { throw failure }
    }

    deinit { close(descriptor) }

    var hasFailed: Bool { failed.load(ordering: .acquiring) }
    var failure: RunFailure {
        RunFailure(
            .resource, cause: "the recording \(path) can't be written: \(String(cString: strerror(failureCode)))")
    }

    /// Writes what the ring holds and ends `run`.
    func stop() {
        stopping.store(true, ordering: .releasing)
        ring.wake()
    }

    func run(everyMilliseconds interval: Int) {
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
            } else if errno != EINTR {
                failureCode = errno
                cutTo(sent)
                failed.store(true, ordering: .releasing)
                break
            }
        }
        text.removeAll(keepingCapacity: true)
    }

    private func cutTo(_ sent: Int) {
        guard let lastRow = text[..<sent].lastIndex(of: UInt8(ascii: "\n")) else {
            if sent > 0 { truncate(by: sent) }
            return
        }
        if lastRow + 1 < sent { truncate(by: sent - lastRow - 1) }
    }

    private func truncate(by surplus: Int) {
        let end = lseek(descriptor, 0, SEEK_CUR)
        if end >= surplus { ftruncate(descriptor, end - surplus) }
    }
}
