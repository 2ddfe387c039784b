import Foundation
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import Synchronization
import Testing

@testable import HermesRecorder

@Suite struct CSVRecorderTests {
    private func output(_ path: String) throws -> OutputFile {
        try OutputFiles(inputs: []).open(ByteString(path), for: "--record")
    }

    private func record(
        _ recording: Recording, _ file: String = "run.csv", isRealtime: Bool = false, rows: [[String: UInt64]]
    ) throws {
        let recorder = try CSVRecorder(file: output("\(recording.folder)/\(file)")) { _ in }
        try recorder.begin(recording.plan, epoch: 0, isRealtime: isRealtime)
        for (frame, values) in rows.enumerated() { try recording.show(UInt64(frame), values, to: recorder) }
        try recorder.finish()
    }

    @Test func everyTypeInItsShortestForm() throws {
        let types = SignalType.allCases.map { AnnouncedSignal(name: $0.word, type: $0) }
        let recording = try Recording([("m", types), ("a", [AnnouncedSignal(name: "hidden", published: false)])])
        defer { recording.remove() }
        func row(_ f64: Double, _ f32: Float, _ i64: Int64, _ i32: Int32, _ bool: UInt64) -> [String: UInt64] {
            [
                "m.f64": f64.bitPattern, "m.f32": UInt64(f32.bitPattern), "m.i64": UInt64(bitPattern: i64),
                "m.i32": UInt64(UInt32(bitPattern: i32)), "m.bool": bool,
            ]
        }
        try record(
            recording,
            rows: [
                row(0.1, 0.1, -1, -1, 1), row(2, -2.5, .min, .min, 0), row(1e300, 1e20, .max, .max, 1),
                row(.nan, .infinity, 0, 7, 0), row(-0.0, .leastNonzeroMagnitude, 9_007_199_254_740_993, 0, 1),
                row(.ulpOfOne, 16_777_216, 1, 1, 1),
            ])
        #expect(
            try recording.text("run.csv") == """
                frame,time,m.bool,m.f32,m.f64,m.i32,m.i64
                0,0,1,0.1,0.1,-1,-1
                1,0.1,0,-2.5,2,-2147483648,-9223372036854775808
                2,0.2,1,1e20,1e300,2147483647,9223372036854775807
                3,0.3,0,inf,nan,7,0
                4,0.4,1,1e-45,-0,0,9007199254740993
                5,0.5,1,16777216,2.220446049250313e-16,1,1

                """)
    }

    @Test func numbersReadBackToTheSameBits() throws {
        let recording = try Recording([("m", [AnnouncedSignal(name: "x"), AnnouncedSignal(name: "y", type: .f32)])])
        defer { recording.remove() }
        var random = SystemRandomNumberGenerator()
        let rows = (0..<3000).map { _ in
            [
                "m.x": UInt64.random(in: 0..<0x7FF0 << 48, using: &random),
                "m.y": UInt64.random(in: 0..<0x7F80_0000, using: &random),
            ]
        }
        try record(recording, rows: rows)
        let lines = try recording.text("run.csv").split(separator: "\n").dropFirst()
        try #require(lines.count == rows.count)
        for (line, row) in zip(lines, rows) {
            let fields = line.split(separator: ",")
            try #require(
                Double(fields[2])?.bitPattern == row["m.x"]
                    && Float(fields[3]).map { UInt64($0.bitPattern) } == row["m.y"])
        }
    }

    @Test func namesThatNeedItAreQuoted() throws {
        #expect(CSVRecorder.quoted("m.plain name") == "m.plain name")
        #expect(CSVRecorder.quoted("m.a,b") == "\"m.a,b\"")
        #expect(CSVRecorder.quoted("m.\"x\"") == "\"m.\"\"x\"\"\"")
        #expect(CSVRecorder.quoted("m.\r\n") == "\"m.\r\n\"" && CSVRecorder.quoted("") == "")
        // An accent makes one character of itself and what it follows, not for those who read the file.
        #expect(CSVRecorder.quoted("m.\"\u{301}x") == "\"m.\"\"\u{301}x\"")
        #expect(
            CSVRecorder.quoted("m.,\u{301}x") == "\"m.,\u{301}x\"" && CSVRecorder.quoted("\n\u{301}") == "\"\n\u{301}\""
        )
        let recording = try Recording([("m", [AnnouncedSignal(name: "b"), AnnouncedSignal(name: "a,\"b")])])
        defer { recording.remove() }
        try record(recording, rows: [])
        #expect(try recording.text("run.csv") == "frame,time,\"m.a,\"\"b\",m.b\n")
    }

    @Test func anEpochHasAFileOfItsOwn() throws {
        #expect(CSVRecorder.name("run.csv", epoch: 0) == "run.csv")
        #expect(CSVRecorder.name("run.csv", epoch: 1) == "run.epoch1.csv")
        #expect(CSVRecorder.name("run", epoch: 2) == "run.epoch2")
        #expect(CSVRecorder.name("run.tar.csv", epoch: 10) == "run.tar.epoch10.csv")
        #expect(CSVRecorder.name(".hidden", epoch: 1) == ".hidden.epoch1")

        let recording = try Recording([("m", [AnnouncedSignal(name: "x")])])
        defer { recording.remove() }
        let named = Mutex<[String]>([])
        let recorder = try CSVRecorder(file: output("\(recording.folder)/run.csv")) { file in
            named.withLock { $0.append(file.path.description) }
        }
        for epoch in 0..<3 as Range<UInt32> {
            try recorder.begin(recording.plan, epoch: epoch, isRealtime: false)
            for frame in 0...UInt64(epoch) {
                try recording.show(frame, ["m.x": Double(epoch).bitPattern], to: recorder)
            }
        }
        try recorder.finish()
        #expect(recording.files == ["run.csv", "run.epoch1.csv", "run.epoch2.csv"])
        #expect(named.withLock { $0 } == recording.files.map { "\(recording.folder)/\($0)" })
        #expect(try recording.text("run.csv") == "frame,time,m.x\n0,0,0\n")
        #expect(try recording.text("run.epoch2.csv") == "frame,time,m.x\n0,0,2\n1,0.1,2\n2,0.2,2\n")
    }

    @Test func moreRowsThanTheRingHoldsAreAllThere() throws {
        let wide = (0..<1000).map { AnnouncedSignal(name: "s\($0)") }
        let recording = try Recording([("m", wide)])
        defer { recording.remove() }
        let values = Dictionary(uniqueKeysWithValues: (0..<1000).map { ("m.s\($0)", Double($0).bitPattern) })
        let slots = recording.plan.registry.signals.map { values[$0.name.description]! }
        let recorder = try CSVRecorder(file: output("\(recording.folder)/run.csv")) { _ in }
        try recorder.begin(recording.plan, epoch: 0, isRealtime: false)
        for frame in 0..<2000 as Range<UInt64> {
            try slots.withUnsafeBufferPointer { try recorder.completed(frame: frame, time: 0, slots: $0.baseAddress!) }
        }
        try recorder.finish()
        let lines = try recording.text("run.csv").split(separator: "\n")
        #expect(lines.count == 2001)
        for (frame, line) in lines.dropFirst().enumerated() {
            try #require(line.hasPrefix("\(frame),0,0,1,10,100,101,"))
        }
        #expect(recorder.stalls > 0, "a ring of 4 MiB holds some 500 rows")
    }

    @Test func aFullDiskIsSaidBeforeTheFirstFrame() throws {
        let recording = try Recording([("m", [AnnouncedSignal(name: "x")])])
        defer { recording.remove() }
        let recorder = try CSVRecorder(file: output("/dev/full")) { _ in Issue.record("no file to protect") }
        let failure = #expect(throws: RunFailure.self) {
            try recorder.begin(recording.plan, epoch: 0, isRealtime: false)
        }
        #expect(failure?.cause == "the recording /dev/full can't be written: No space left on device")
        try recorder.finish()
        #expect(throws: OutputError.self) { try output("\(recording.folder)/none/run.csv") }
    }

    /// A recording whose disk fills up mid-run: a FIFO whose reader takes a little and goes.
    private func brokenPipe(isRealtime: Bool) throws -> (
        failure: RunFailure?, atEnd: RunFailure?, frames: UInt64, losses: [String]
    ) {
        signal(SIGPIPE, SIG_IGN)
        let recording = try Recording([("m", [AnnouncedSignal(name: "x")])])
        defer { recording.remove() }
        let path = "\(recording.folder)/pipe"
        mkfifo(path, 0o600)
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        let losses = Mutex<[String]>([])
        let recorder = try CSVRecorder(
            file: output(path), onLoss: { loss in losses.withLock { $0.append(loss.cause) } },
            onFile: { _ in close(reader) })
        try recorder.begin(recording.plan, epoch: 0, isRealtime: isRealtime)
        var frame: UInt64 = 0
        var failure: RunFailure?, atEnd: RunFailure?
        do {
            while frame < 2_000_000 {
                try recording.show(frame, [:], to: recorder)
                frame += 1
            }
        } catch {
            failure = error as? RunFailure
        }
        do { try recorder.finish() } catch { atEnd = error as? RunFailure }
        return (failure, atEnd, frame, losses.withLock { $0 })
    }

    @Test func aDiskThatFailsMidRunEndsAnAfapRun() throws {
        let (failure, atEnd, frames, losses) = try brokenPipe(isRealtime: false)
        #expect(failure?.code == .resource)
        #expect(failure?.cause.hasSuffix("can't be written and has no row: Broken pipe") == true)
        #expect(losses.isEmpty)
        #expect(atEnd != nil && frames > 0 && frames < 2_000_000)
    }

    @Test func aDiskThatFailsMidRunIsSaidAtTheEndInRealtime() throws {
        let (failure, atEnd, frames, losses) = try brokenPipe(isRealtime: true)
        #expect(failure == nil && frames == 2_000_000, "never a frame's deadline")
        #expect(atEnd?.code == .resource && losses == [atEnd?.cause], "said when it happens, and at the end")
    }

    @Test func aFIFOWithoutAReaderIsRefused() throws {
        let recording = try Recording([("m", [AnnouncedSignal(name: "x")])])
        defer { recording.remove() }
        let path = "\(recording.folder)/pipe"
        mkfifo(path, 0o600)
        let recorder = try CSVRecorder(file: output(path)) { _ in Issue.record("no file to protect") }
        let failure = #expect(throws: RunFailure.self) {
            try recorder.begin(recording.plan, epoch: 0, isRealtime: false)
        }
        #expect(
            failure?.cause
                == "the recording \(path) can't be written: nobody reads from it; start what reads this FIFO first")
        try recorder.finish()
    }

    /// Nobody takes from the FIFO: the frames stand, until the recording is given up.
    @Test(.timeLimit(.minutes(1)), arguments: [false, true]) func aStuckRecordingCanBeGivenUp(isHeaderStuck: Bool)
        throws
    {
        let name = isHeaderStuck ? String(repeating: "s", count: 200) : "s"
        let recording = try Recording([("m", (0..<500).map { AnnouncedSignal(name: "\(name)\($0)") })])
        defer { recording.remove() }
        let path = "\(recording.folder)/pipe"
        mkfifo(path, 0o600)
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        let recorder = try CSVRecorder(file: output(path)) { _ in }
        let giveUp = Thread {
            usleep(200_000)
            recorder.abandon()
        }
        giveUp.start()
        let failure = #expect(throws: RunFailure.self) {
            try recorder.begin(recording.plan, epoch: 0, isRealtime: false)
            let slots = [UInt64](repeating: (0.1 as Double).bitPattern, count: 500)
            for frame in 0..<1_000_000 as Range<UInt64> {
                try slots.withUnsafeBufferPointer {
                    try recorder.completed(frame: frame, time: 0, slots: $0.baseAddress!)
                }
            }
        }
        #expect(failure?.code == .refused && failure?.cause.hasPrefix("the recording \(path) is incomplete") == true)
        let began = Date()
        if isHeaderStuck {
            try recorder.finish()
        } else {
            let atEnd = #expect(throws: RunFailure.self) { try recorder.finish() }
            #expect(atEnd?.cause.hasPrefix("the recording \(path) is incomplete") == true)
        }
        #expect(Date().timeIntervalSince(began) < 5)
    }

    @Test func aResetDoesNotEndARealtimeRunWhoseRecordingHas() throws {
        signal(SIGPIPE, SIG_IGN)
        let recording = try Recording([("m", [AnnouncedSignal(name: "x")])])
        defer { recording.remove() }
        let path = "\(recording.folder)/pipe"
        mkfifo(path, 0o600)
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        let recorder = try CSVRecorder(file: output(path)) { _ in close(reader) }
        try recorder.begin(recording.plan, epoch: 0, isRealtime: true)
        try recording.show(0, [:], to: recorder)
        try recorder.begin(recording.plan, epoch: 1, isRealtime: true)
        try recording.show(0, [:], to: recorder)
        #expect(throws: RunFailure.self) { try recorder.finish() }
        #expect(recording.files == ["pipe"], "no part without rows")
    }

    @Test func aFullRingEndsARealtimeRecordingAndNoFrame() throws {
        // A pipe that nobody reads: the writer stands still, the ring fills up.
        let recording = try Recording([("m", (0..<500).map { AnnouncedSignal(name: "s\($0)") })])
        defer { recording.remove() }
        let path = "\(recording.folder)/pipe"
        mkfifo(path, 0o600)
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        let recorder = try CSVRecorder(file: output(path)) { _ in }
        try recorder.begin(recording.plan, epoch: 0, isRealtime: true)
        let slots = [UInt64](repeating: (0.1 as Double).bitPattern, count: 500)
        for frame in 0..<5000 as Range<UInt64> {
            try slots.withUnsafeBufferPointer { try recorder.completed(frame: frame, time: 0, slots: $0.baseAddress!) }
        }
        #expect(recorder.stalls == 0)
        // The writer gets its disk back, so that the recording can be closed.
        let drained = Mutex<[UInt8]>([])
        let drain = Thread {
            var room = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                let count = read(reader, &room, room.count)
                if count == 0 { return }
                if count > 0 { drained.withLock { $0 += room[..<count] } } else { sched_yield() }
            }
        }
        drain.start()
        let failure = #expect(throws: RunFailure.self) { try recorder.finish() }
        #expect(
            failure?.cause.hasSuffix("could not be written fast enough for realtime and ends before this frame") == true
        )
        let last = try #require(failure?.frame)
        #expect(last > 100 && last < 5000)
        withExtendedLifetime(recorder) {}
    }
}
