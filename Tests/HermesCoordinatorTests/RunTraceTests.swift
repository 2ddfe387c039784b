import Foundation
import HermesProtocol
import HermesTiming
import Testing

@testable import HermesCoordinator

@Suite struct RunTraceTests {
    private func event(
        _ kind: TraceEvent.Kind, _ begin: UInt64, _ end: UInt64, _ frame: UInt64 = 1, subject: Int = 0, detail: Int = 0
    ) -> TraceEvent {
        TraceEvent(kind, begin: begin, end: end, frame: frame, epoch: 0, subject: subject, detail: detail)
    }

    private func host(_ name: String, _ clock: ClockLine, _ events: [TraceEvent]) -> TracedHost {
        TracedHost(
            trace: HostTrace(
                host: name, modules: ["m\"1", "m2"], participants: ["desk", "rack"], events, lost: 0), clock: clock)
    }

    private func read(_ trace: RunTrace) throws -> [[String: Any]] {
        let whole = try #require(
            try JSONSerialization.jsonObject(with: Data(trace.json())) as? [String: Any])
        return try #require(whole["traceEvents"] as? [[String: Any]])
    }

    @Test func hostsAreOnOneClockAndMirrorsHaveArrows() throws {
        var clock = ClockLine()
        // Rack's clock is 1 ms ahead.
        clock.add(asked: 0, there: 1_000_500, heard: 1000)
        let desk = host(
            "desk", .own,
            [
                event(.step, 10_000, 20_000), event(.wait, 20_000, 22_000), event(.exchange, 22_000, 40_000),
                event(.mirror, 23_000, 39_000, subject: 1), event(.frame, 9000, 41_000),
            ])
        let rack = host(
            "rack", clock,
            [
                event(.step, 1_012_000, 1_030_000, subject: 1), event(.exchange, 1_030_500, 1_033_000),
                event(.mirror, 1_030_600, 1_032_000, subject: 0), event(.frame, 1_011_000, 1_034_000),
            ])
        let ring = TraceRing(capacity: 8)
        ring.add(event(.advance, 8000, 45_000, detail: 1))
        ring.add(event(.stepMessage, 8500, 8500, subject: 1, detail: 1))
        let events = try read(RunTrace([desk, rack], coordinator: ring, participants: ["desk", "rack"]))

        let slices = events.filter { $0["ph"] as? String == "X" }
        #expect(slices.count == 10)
        #expect(slices.allSatisfy { $0["dur"] is Double || $0["dur"] is Int })
        let step = try #require(slices.first { $0["pid"] as? Int == 2 && $0["name"] as? String == "step" })
        // 1_012_000 - 1_000_000 after the coordinator's first, at 8000.
        #expect(step["ts"] as? Double == 4 && step["dur"] as? Double == 18 && step["tid"] as? Int == 11)
        let times = events.compactMap { $0["ts"] as? Double }
        #expect(times == times.sorted())
        let names = Set(
            events.filter { $0["ph"] as? String == "M" }.compactMap { ($0["args"] as? [String: String])?["name"] })
        #expect(names == ["desk", "rack", "coordinator", "node", "m\"1", "m2"])
        #expect(events.contains { $0["ph"] as? String == "i" && $0["name"] as? String == "step to rack" })
        for number in [1, 2] {
            let arrow = events.filter { $0["id"] as? Int == number }
            #expect(arrow.map { $0["ph"] as? String } == ["s", "f"])
            #expect(arrow[0]["pid"] as? Int != arrow[1]["pid"] as? Int)
        }
    }

    @Test func aHostWithoutAClockBeginsWithTheOthers() throws {
        let desk = host("desk", .own, [event(.frame, 5000, 6000)])
        let rack = host("rack", ClockLine(), [event(.frame, 7_000_000_000, 7_000_001_000)])
        let events = try read(
            RunTrace([desk, rack], coordinator: TraceRing(capacity: 1), participants: ["desk", "rack"]))
        #expect(events.filter { $0["ph"] as? String == "X" }.allSatisfy { $0["ts"] as? Double == 0 })
        #expect(events.contains { ($0["args"] as? [String: String])?["name"] == "rack (clock not known)" })
    }

    @Test func nothingIsATimelineToo() throws {
        let events = try read(RunTrace([], coordinator: TraceRing(capacity: 1), participants: ["desk"]))
        #expect(events.allSatisfy { $0["ph"] as? String == "M" })
    }

    @Test func clocksDriftInAStraightLine() {
        var line = ClockLine()
        line.add(asked: 0, there: 1_000_000, heard: 0)
        line.add(asked: 10_000_000_000, there: 10_002_000_000, heard: 10_000_000_000)
        #expect(line.here(1_000_000) == 0 && line.here(10_002_000_000) == 10_000_000_000)
        let middle = line.here(5_001_500_000)
        #expect(abs(Int64(middle) - 5_000_000_000) < 2)
        #expect(line.here(20_003_000_000) > 20_000_000_000 - 2000, "and goes on")
        var behind = ClockLine()
        behind.add(asked: 5_000_000, there: 2_000_000, heard: 5_000_000)
        #expect(behind.here(2_500_000) == 5_500_000)
        #expect(ClockLine().here(77) == 77 && !ClockLine().isKnown && ClockLine.own.here(77) == 77)
    }

    @Test func aHostMayClaimAnyClock() throws {
        var clock = ClockLine()
        clock.add(asked: 0, there: 1 << 62, heard: 10)
        clock.add(asked: 100, there: .max - 1, heard: 200)
        let moments: [UInt64] = [0, 5, 1 << 61, (1 << 62) - 1]
        let events = moments.flatMap { begin in
            moments.filter { $0 >= begin }.map { event(.exchange, begin, $0, begin, subject: 1) }
        }
        var steep = ClockLine()
        steep.add(asked: 0, there: 5, heard: 0)
        steep.add(asked: 1 << 61, there: 6, heard: 1 << 61)
        let trace = RunTrace(
            [host("desk", .own, events), host("rack", clock, events), host("yard", steep, events)],
            coordinator: TraceRing(capacity: 1), participants: ["desk", "rack", "yard"])
        #expect(try read(trace).filter { $0["ph"] as? String == "X" }.count == 3 * events.count)
    }

    @Test func eventsTravel() throws {
        let all = (1...15 as ClosedRange<UInt64>).map {
            event(.mirror, $0 * 1_000_000_007, $0 * 1_000_000_007 + 5, $0 << 40, subject: 500, detail: 70_000)
        }
        let trace = HostTrace(host: "h", modules: [], participants: [], all, lost: 3)
        let back = try JSONDecoder().decode(HostTrace.self, from: JSONEncoder().encode(trace))
        #expect(back.events == all && back.lost == 3)
        // What is no event is passed over: another kind, an end before the begin, half of one.
        let rubbish = Data([UInt8](repeating: 0xff, count: 40) + [UInt8](repeating: 0, count: 60)).base64EncodedString()
        let text = "{\"host\":\"h\",\"modules\":[],\"participants\":[],\"lost\":0,\"events\":\"\(rubbish)\"}"
        #expect(try JSONDecoder().decode(HostTrace.self, from: Data(text.utf8)).events.isEmpty)
    }

    @Test func theRingKeepsTheNewest() {
        let ring = TraceRing(capacity: 4)
        #expect(ring.events.isEmpty && ring.lost == 0)
        for frame in 1...4 as ClosedRange<UInt64> { ring.add(event(.frame, 0, 0, frame)) }
        #expect(ring.events.map(\.frame) == [1, 2, 3, 4] && ring.lost == 0)
        for frame in 5...10 as ClosedRange<UInt64> { ring.add(event(.frame, 0, 0, frame)) }
        #expect(ring.events.map(\.frame) == [7, 8, 9, 10] && ring.lost == 6)
    }
}
