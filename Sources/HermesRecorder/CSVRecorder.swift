import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import Synchronization

/// `frame,time,<module.signal>...`, one row for each completed frame of the published signals, ordered by name.
///
/// The thread that runs the frames copies a row into a ring; a thread of its own formats and writes. In afap a full
/// ring makes the frames wait; in realtime it ends the recording with an error, never a frame's deadline. An epoch
/// after a reset has a file of its own: `run.csv`, then `run.epoch1.csv`; in a FIFO, a device or what the process was given
/// open it follows, with a header of its own.
public final class CSVRecorder: FrameObserver, @unchecked Sendable {
    private static let ringBytes = 4 << 20
    private static let flushMilliseconds = 200
    /// In realtime the writer is woken so often a second, by a row that was given: it works when a frame has ended and not
    /// when the next one is to begin.
    private static let realtimeWakes = 100.0

    private let file: OutputFile
    /// Told of every file before its first row is written.
    private let onFile: (OutputFile) -> Void
    /// Told once, by the thread that runs the frames, of what ended the recording of a realtime run that goes on.
    private let onLoss: (RunFailure) -> Void
    private var columns: [(slot: Int, type: SignalType)] = []
    private var ring: RowRing?
    private var writer: CSVWriter?
    private var thread = pthread_t()
    private var isRealtime = false
    /// The last frame in a recording that ended early; nil for one that is whole or has no frame.
    public private(set) var lastOfLost: UInt64?
    private var ended: RunFailure?
    private let abandonment = Abandonment()
    /// How often frames had to wait for the disk (afap).
    public private(set) var stalls: UInt64 = 0

    public init(
        file: OutputFile, onLoss: @escaping (RunFailure) -> Void = { _ in }, onFile: @escaping (OutputFile) -> Void
    ) {
        self.file = file
        self.onLoss = onLoss
        self.onFile = onFile
    }

    public func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws {
        do {
            try closePart()
        } catch let failure as RunFailure {
            try endEarly(failure)
        }
        self.isRealtime = isRealtime
        // A recording that has ended in realtime has no further part.
        guard ended == nil else { return }
        let slots = plan.registry.publishedInOrder
        columns = slots.map { ($0, plan.registry.signals[$0].type) }
        let part = try part(of: epoch)
        let header = ["frame", "time"] + slots.map { Self.quoted(plan.registry.signals[$0].name.description) }
        let rowsAWake = isRealtime ? Int(max(1, min(plan.rateHz / Self.realtimeWakes, 1e9))) : .max
        let ring = RowRing(width: columns.count + 2, bytes: Self.ringBytes, rowsAWake: rowsAWake)
        let writer = try CSVWriter(
            file: part, header: header.joined(separator: ","), types: columns.map(\.type), ring: ring,
            abandonment: abandonment)
        onFile(part)
        let yields = isRealtime
        do {
            thread = try startThread("the recording") {
                writer.run(everyMilliseconds: Self.flushMilliseconds, yields: yields)
            }
        } catch {
            throw RunFailure(.resource, cause: "\(error)")
        }
        self.ring = ring
        self.writer = writer
    }

    public func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) throws {
        guard let ring, let writer, ended == nil else { return }
        if writer.hasFailed { return try endEarly(writer.failure) }
        while !ring.give({ row in
            row[0] = frame
            row[1] = time.bitPattern
            for index in columns.indices { row[index + 2] = slots[columns[index].slot] }
        }) {
            if isRealtime {
                return try endEarly(
                    RunFailure(
                        .resource, frame: frame,
                        cause:
                            "the recording \(writer.file.path) could not be written fast enough for realtime and ends before this frame"
                    ))
            }
            if abandonment.hasBegun { return try endEarly(writer.incomplete) }
            stalls += 1
            ring.waitForRoom()
            if writer.hasFailed { return try endEarly(writer.failure) }
        }
    }

    /// Realtime goes on without its recording and says so, then and at the end; afap has no reason to go on.
    private func endEarly(_ failure: RunFailure) throws {
        ended = failure
        if !isRealtime { throw failure }
        onLoss(failure)
    }

    public func modeChanged(isRealtime: Bool) { self.isRealtime = isRealtime }

    public func finish() throws {
        do {
            try closePart()
        } catch {
            // What came first is what was said.
            throw ended ?? error
        }
        if let ended { throw ended }
    }

    public func abandon() { abandonment.begin() }

    private func closePart() throws {
        guard let writer else { return }
        self.writer = nil
        writer.stop()
        var chances = 4
        while !writer.hasEnded(withinMilliseconds: 50) {
            if abandonment.isOver { chances -= 1 }
            guard chances == 0 else { continue }
            // It hangs in the disk: it keeps what it needs, and ends with the process.
            pthread_detach(thread)
            throw writer.incomplete
        }
        pthread_join(thread, nil)
        guard writer.hasFailed else { return }
        lastOfLost = writer.lastWhole
        throw writer.failure
    }

    private func part(of epoch: UInt32) throws(RunFailure) -> OutputFile {
        guard epoch > 0, file.isPlain else { return file }
        do throws(OutputError) {
            return try file.beside(beginning: "frame,time") { Self.name($0, epoch: epoch) }
        } catch {
            throw RunFailure(.resource, cause: "the recording \(error)")
        }
    }

    /// What the part of an epoch is called: the number stands before the ending.
    static func name(_ name: ByteString, epoch: UInt32) -> ByteString {
        guard epoch > 0 else { return name }
        let dot = name.bytes.lastIndex(of: UInt8(ascii: ".")).flatMap { $0 > 0 ? $0 : nil } ?? name.count
        return ByteString(bytes: name.bytes[..<dot] + Array(".epoch\(epoch)".utf8) + name.bytes[dot...])
    }

    /// RFC 4180: a field with a comma, a quote or a line break is quoted, quotes are doubled. By bytes, as readers do: a quote
    /// with an accent is a quote.
    static func quoted(_ field: String) -> String {
        let quote = UInt8(ascii: "\"")
        guard field.utf8.contains(where: { $0 == quote || $0 == 0x2C || $0 == 0x0A || $0 == 0x0D }) else {
            return field
        }
        let doubled = field.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }
        return "\"\(String(decoding: doubled, as: UTF8.self))\""
    }
}
