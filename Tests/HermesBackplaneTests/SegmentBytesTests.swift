import Foundation
import HermesModel
import HermesPlan
import Testing

@testable import HermesBackplane

/// A reader written from the format's description alone: header, directory, string table, data.
private struct Stranger {
    struct Entry: Equatable {
        var name: String
        var type, flags: UInt8
        var value: [UInt8]
    }
    let bytes: [UInt8]

    init(_ name: String) throws { bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: "/dev/shm\(name)"))) }

    func u32(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }
    func u64(_ at: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[at + $1]) << (8 * $1) } }

    var magic: Int { u32(0) }
    var version: Int { u32(4) }
    var frame: UInt64 { u64(8) }
    var time: Double { Double(bitPattern: u64(16)) }
    var count: Int { u32(24) }
    func nameOffset(_ index: Int) -> Int { u32(64 + 12 * index) }
    func dataOffset(_ index: Int) -> Int { u32(64 + 12 * index + 4) }

    var entries: [Entry] {
        (0..<count).map { index in
            let at = 64 + 12 * index, name = nameOffset(index)
            let end = bytes[name...].firstIndex(of: 0)!
            return Entry(
                name: String(decoding: bytes[name..<end], as: UTF8.self), type: bytes[at + 8], flags: bytes[at + 9],
                value: Array(bytes[dataOffset(index)..<dataOffset(index) + 8]))
        }
    }
}

@Suite struct SegmentBytesTests {
    private func sketch() -> SegmentSketch {
        var sketch = SegmentSketch()
        sketch.module(
            "zulu",
            signals: [
                AnnouncedSignal(name: "wave", type: .f64, direction: .output, unit: "m", summary: "of the sea"),
                AnnouncedSignal(name: "a.dotted.name", type: .i32), AnnouncedSignal(name: "größe", type: .f32),
            ])
        sketch.module(
            "alpha", kind: .inproc,
            signals: [
                AnnouncedSignal(name: "flag", type: .bool, writable: true),
                AnnouncedSignal(name: "secret", type: .i64, published: false),
                AnnouncedSignal(name: "wired", type: .f64, writable: true, direction: .input, unit: "m"),
            ])
        sketch.wire("zulu.wave", "alpha.wired")
        return sketch
    }

    @Test func aStrangerReadsNamesTypesFlagsAndValues() throws {
        let segment = try sketch().segment()
        let values: [UInt64] = [
            (0.1 as Double).bitPattern, UInt64(UInt32(bitPattern: -7)), UInt64(Float(2.5).bitPattern), 1,
            UInt64(bitPattern: -5),
            (3.25 as Double).bitPattern,
        ]
        for (slot, bits) in values.enumerated() { segment.slots[slot] = bits }
        segment.publish(frame: 3, time: 0.375)
        let seen = try Stranger(segment.name)
        #expect(seen.magic == 0x4845_524D && seen.version == 1 && Array(seen.bytes[..<4]) == Array("MREH".utf8))
        #expect(seen.frame == 3 && seen.time == 0.375 && seen.count == 6)
        let entries = seen.entries
        #expect(
            entries.map(\.name) == [
                "zulu.wave", "zulu.a.dotted.name", "zulu.größe", "alpha.flag", "alpha.secret", "alpha.wired",
            ])
        #expect(entries.map(\.type) == [0, 3, 1, 4, 2, 0])
        #expect(entries.map(\.flags) == [2, 2, 2, 3, 0, 2])
        for (entry, bits) in zip(entries, values) {
            #expect(entry.value == (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) })
        }
    }

    @Test func namesLieBetweenDirectoryAndData() throws {
        let segment = try sketch().segment()
        let seen = try Stranger(segment.name)
        let data = seen.dataOffset(0)
        #expect(data % 64 == 0)
        for index in 0..<seen.count {
            #expect(seen.dataOffset(index) == data + 8 * index)
            #expect(seen.nameOffset(index) >= 64 + 12 * seen.count && seen.nameOffset(index) < data)
            #expect(seen.bytes[64 + 12 * index + 10] == 0 && seen.bytes[64 + 12 * index + 11] == 0)
        }
        #expect(seen.bytes.count % 4096 == 0)
    }

    @Test func theFileIsOfTheOwnerAlone() throws {
        let segment = try sketch().segment()
        let mode =
            try FileManager.default.attributesOfItem(atPath: "/dev/shm\(segment.name)")[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func aSimulationWithoutSignalsHasASegmentToo() throws {
        var sketch = SegmentSketch()
        sketch.module("quiet", signals: [])
        let segment = try sketch.segment()
        #expect(try Stranger(segment.name).count == 0)
        segment.deliverAll()
    }

    @Test func theControlBlockTellsTheRestOfThePlan() throws {
        let plan = try sketch().plan()
        let segment = try Segment(name: SegmentSketch.uniqueName(), plan: plan, run: 99)
        let view = segment.view.pointee, control = view.control.pointee
        #expect(control.run == 99 && control.rate_hz == 8 && control.module_count == 2 && control.phase_count == 1)
        #expect(control.owner == UInt32(getpid()) && control.state == 1 && control.wait_target == .max)
        func text(_ offset: UInt32) -> String { String(cString: view.base + Int(offset)) }
        #expect(text(view.modules[0].name_offset) == "zulu" && text(view.modules[1].name_offset) == "alpha")
        #expect(view.modules[1].kind == 1 && view.modules[1].first_signal == 3 && view.modules[1].signal_count == 3)
        #expect(text(view.extras[0].unit_offset) == "m" && text(view.extras[0].description_offset) == "of the sea")
        #expect(view.extras[1].unit_offset == 0 && view.extras[3].module == 1)
        #expect((0..<6).map { view.extras[$0].bits } == [2, 0, 0, 0, 0, 5])
        #expect(view.phases[0].flags == 2, "the node has work of its own in it")
    }

    @Test(arguments: [0, 1, 5, 63, 64, 65, 3000]) func everythingIsAlignedAndNothingOverlaps(signals: Int) throws {
        var sketch = SegmentSketch()
        for module in ["a", "b"] {
            let announced = (0..<signals).map { AnnouncedSignal(name: "s\($0)", unit: $0 % 7 == 0 ? "u\($0)" : nil) }
            sketch.module(module, signals: announced)
        }
        for signal in 0..<signals {
            sketch.wire("a.s\(signal)", "b.s\((signal + 5) % signals)", gain: signal % 3 == 0 ? 2 : 1)
        }
        let layout = try SegmentLayout(HostShare(whole: sketch.plan()))
        let parts = [
            layout.data, layout.control, layout.modules, layout.phases, layout.phaseList, layout.extras,
            layout.deliveries, layout.runs, layout.copies, layout.converts, layout.stage, layout.queue, layout.snapshot,
        ]
        #expect(parts.allSatisfy { $0 % 64 == 0 })
        #expect(parts == parts.sorted() && layout.strings >= 64 + 12 * 2 * signals)
        #expect(layout.strings + layout.texts.bytes.count <= layout.data)
        #expect(layout.data + 8 * 2 * signals <= layout.control)
        #expect(layout.queue + 16 * layout.queueCapacity <= layout.snapshot)
        #expect(layout.snapshot + 8 * 2 * signals <= layout.total && layout.total % 4096 == 0)
        #expect(layout.queueCapacity >= 4 * signals && layout.queueCapacity.nonzeroBitCount == 1)
    }
}
