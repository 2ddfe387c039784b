import Foundation
import HermesProtocol
import HermesTiming
import Testing

@Suite struct DurationTests {
    private func durations(_ all: some Sequence<UInt64>) -> Durations {
        var recorder = DurationRecorder()
        for each in all { recorder.record(each) }
        return recorder.durations
    }

    private func isNear(_ value: UInt64, _ expected: UInt64) -> Bool {
        value >= expected && Double(value) <= Double(expected) * 1.01 + 8
    }

    @Test func percentilesAreThoseOfTheSortedListToOnePercent() {
        var generator = SystemRandomNumberGenerator()
        let all = (0..<5000).map { _ in UInt64.random(in: 0...1 << UInt64.random(in: 1...35), using: &generator) }
        let sorted = all.sorted(), told = durations(all)
        #expect(told.count == 5000 && told.longest == sorted.last && told.total == all.reduce(0, +))
        for percent in [0, 1, 50, 90, 99, 99.9, 100] {
            let rank = max(1, Int((5000 * percent / 100).rounded(.up)))
            #expect(isNear(told.percentile(percent), sorted[rank - 1]), "p\(percent)")
        }
    }

    @Test func nothingAndTheEndlessHavePlaces() {
        let none = durations([])
        #expect(none.count == 0 && none.percentile(99) == 0 && none.mean == 0 && none.longest == 0)
        let long = durations([.max / 4, 0])
        #expect(long.longest == .max / 4 && long.count == 2 && long.percentile(0) < 8)
        #expect(isNear(long.percentile(100), 1 << 36), "beyond its range all are alike")
    }

    @Test func twoTogetherAreAllOfBoth() {
        let odd = stride(from: UInt64(1), to: 4000, by: 2), even = stride(from: UInt64(0), to: 9000, by: 6)
        #expect(durations(odd) + durations(even) == durations(Array(odd) + Array(even)))
        #expect(durations(odd) + Durations() == durations(odd))
    }

    @Test func manyAtOnceCountAsMany() {
        var recorder = DurationRecorder()
        recorder.record(500, count: 20)
        #expect(recorder.durations.count == 20 && recorder.durations.total == 10_000)
    }

    @Test func theyTravel() throws {
        let told = durations([3, 700, 700, 1_000_000])
        let text = String(decoding: try JSONEncoder().encode(told), as: UTF8.self)
        #expect(text.hasPrefix("[1001403,1000000,"))
        #expect(try JSONDecoder().decode(Durations.self, from: Data(text.utf8)) == told)
        for rubbish in ["[]", "[1]", "[1,2,3]", "[1,2,5,1,5,1]", "[1,2,5,1,4,1]", "[1,2,-5,1]", "{}"] {
            #expect(throws: (any Error).self, "\(rubbish)") {
                try JSONDecoder().decode(Durations.self, from: Data(rubbish.utf8))
            }
        }
    }

    @Test func theSlowestFramesStay() {
        var slowest = SlowestFrames<Int>()
        let times = (1...100).map { UInt64($0 * 37 % 101) }
        for (number, time) in times.enumerated() where time > slowest.bound { slowest.keep(time, number) }
        #expect(slowest.sorted.map(\.time) == Array(times.sorted(by: >).prefix(8)))
        #expect(slowest.sorted.allSatisfy { times[$0.detail] == $0.time })
    }
}
