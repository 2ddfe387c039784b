import Testing

@testable import HermesCoordinator

@Suite struct PacerTests {
    static let rates: [Double] = [1, 3, 7, 59.94, 60, 100, 100.0 / 3, 1.0 / 3, 0.25, 1000, 1024, 1e5, 999_983, .pi]

    @Test(arguments: rates) func startsAreExactToTheNanosecond(rate: Double) {
        var pacer = Pacer(rateHz: rate)
        let base: UInt64 = 123_456_789_012_345
        pacer.restart(now: base, completed: 0)
        // The rate as a fraction: significand * 2^-shift.
        let significand = UInt128(rate.significandBitPattern | 1 << 52), shift = 52 - Int(rate.exponent)
        var random = SystemRandomNumberGenerator()
        let some = (0..<2000).map { _ in UInt64.random(in: 0...1_000_000_000, using: &random) }
        for frames in [0, 1, 2, 999_999_937, 999_999_999, 1_000_000_000] + some {
            let exact = (UInt128(frames) * 1_000_000_000 << shift, significand)
            let start = UInt128(pacer.start(of: frames + 1) - base)
            let isClose = start * exact.1 + exact.1 >= exact.0 && start * exact.1 <= exact.0 + exact.1
            #expect(isClose, "frame \(frames + 1) at \(rate) Hz begins at \(start)")
        }
    }

    @Test func deadlinesCountFromTheRestart() {
        var pacer = Pacer(rateHz: 1000)
        pacer.restart(now: 5_000, completed: 0)
        #expect(pacer.start(of: 1) == 5_000 && pacer.start(of: 4) == 3_005_000)
        pacer.restart(now: 9_000_000, completed: 3)
        #expect(pacer.start(of: 4) == 9_000_000 && pacer.start(of: 5) == 10_000_000)
    }

    @Test func aRateNoClockReachesIsNeverDue() {
        var pacer = Pacer(rateHz: 1e-300)
        pacer.restart(now: 1, completed: 0)
        #expect(pacer.start(of: 1) == 1 && pacer.start(of: 2) == .max)
        pacer.ended(1, now: .max - 1)
        #expect(pacer.overruns == 0)
    }

    @Test func aFrameThatEndsAfterTheNextShouldBeginOverruns() {
        var pacer = Pacer(rateHz: 1000)
        pacer.restart(now: 0, completed: 0)
        pacer.ended(1, now: 1_000_000)
        #expect(pacer.overruns == 0)
        pacer.ended(2, now: 2_000_001)
        pacer.ended(3, now: 9_000_000)
        #expect(pacer.overruns == 2)
        // One late frame delays no other.
        #expect(pacer.start(of: 5) == 4_000_000)
    }

    @Test func afterAFreezeDeadlinesBeginAnew() {
        var pacer = Pacer(rateHz: 1000)
        pacer.restart(now: 0, completed: 0)
        pacer.began(2, now: 1_001_000_000)
        #expect(pacer.resynchronised == 0 && pacer.start(of: 3) == 2_000_000, "a second behind is caught up")
        pacer.began(3, now: 1_002_000_001)
        #expect(pacer.resynchronised == 1 && pacer.overruns == 1)
        #expect(pacer.start(of: 3) == 1_002_000_001 && pacer.start(of: 4) == 1_003_000_001)
        #expect(pacer.lateness.durations.longest >= 990_000_000, "what was late stays in the statistics")
    }

    @Test func aSlowRateIsNotBehindWithinItsPeriod() {
        var pacer = Pacer(rateHz: 0.1)
        pacer.restart(now: 0, completed: 0)
        pacer.began(2, now: 19_000_000_000)
        #expect(pacer.resynchronised == 0 && pacer.start(of: 3) == 20_000_000_000)
        pacer.began(3, now: 30_000_000_001)
        #expect(pacer.resynchronised == 1 && pacer.start(of: 4) == 40_000_000_001)
    }

    /// Frames of 1 ms that begin when they are due and take so many microseconds; when each began.
    private func run(_ pacer: inout Pacer, _ microseconds: [UInt64]) -> [UInt64] {
        var now: UInt64 = 0, began: [UInt64] = []
        pacer.restart(now: 0, completed: 0)
        for (index, taken) in microseconds.enumerated() {
            let frame = UInt64(index) + 1
            now = max(now, pacer.due(frame, now: now))
            pacer.began(frame, now: now)
            began.append(now / 1000)
            now += taken * 1000
            pacer.ended(frame, now: now)
        }
        return began
    }

    private static let oneLong: [UInt64] = [100, 2_600, 100, 100, 100, 100]

    @Test func catchUpRunsLateFramesAtOnceUntilTheyAreOnTimeAgain() {
        var pacer = Pacer(rateHz: 1000, onOverrun: .catchUp)
        #expect(run(&pacer, Self.oneLong) == [0, 1000, 3600, 3700, 4000, 5000])
        #expect(pacer.overruns == 2, "the long one, and the one behind it that could only end late")
        #expect(pacer.skippedDeadlines == 0 && pacer.slippedNanoseconds == 0)
    }

    @Test func slipMovesDeadlinesByTheOverrun() {
        var pacer = Pacer(rateHz: 1000, onOverrun: .slip)
        #expect(run(&pacer, Self.oneLong) == [0, 1000, 3600, 4600, 5600, 6600])
        #expect(pacer.overruns == 1 && pacer.slippedNanoseconds == 1_600_000)
    }

    @Test func skipWaitsForTheNextDeadlineOfTheSameGrid() {
        var pacer = Pacer(rateHz: 1000, onOverrun: .skip)
        #expect(run(&pacer, Self.oneLong) == [0, 1000, 4000, 5000, 6000, 7000])
        #expect(pacer.overruns == 1 && pacer.skippedDeadlines == 2, "at 2 and at 3 ms no frame began")
        // A frame that ends on a deadline is not late for it.
        var exact = Pacer(rateHz: 1000, onOverrun: .skip)
        #expect(run(&exact, [1000, 3000, 100, 100]) == [0, 1000, 4000, 5000])
        #expect(exact.skippedDeadlines == 2 && exact.overruns == 1)
    }

    @Test(arguments: rates) func skipNeverLeavesTheGridNorGoesBack(rate: Double) {
        var pacer = Pacer(rateHz: rate, onOverrun: .skip), grid = Pacer(rateHz: rate)
        pacer.restart(now: 777, completed: 0)
        grid.restart(now: 777, completed: 0)
        var number: UInt64 = 0
        for frame in 1...200 as ClosedRange<UInt64> {
            let start = pacer.start(of: frame)
            #expect(start == grid.start(of: number + 1), "frame \(frame) at \(rate) Hz")
            let taken = UInt64(Double(frame % 7) * 0.7 * 1e9 / rate)
            pacer.ended(frame, now: start + taken)
            number += 1
            while grid.start(of: number + 1) < start + taken { number += 1 }
        }
    }

    @Test func skipLeavesOutWhatWentByInAFreeze() {
        var pacer = Pacer(rateHz: 1000, onOverrun: .skip)
        pacer.restart(now: 0, completed: 0)
        pacer.began(1, now: 0)
        pacer.ended(1, now: 100_000)
        #expect(pacer.due(2, now: 1_900_000) == 1_000_000, "late, but its deadline is the last that went by")
        #expect(pacer.due(2, now: 5_000_000_500) == 5_001_000_000)
        #expect(pacer.overruns == 1 && pacer.resynchronised == 0 && pacer.skippedDeadlines == 5000)
        #expect(pacer.lateness.durations.longest >= 4_990_000_000)
        pacer.began(2, now: 5_001_000_000)
        #expect(pacer.start(of: 3) == 5_002_000_000)
    }

    @Test func stopSaysByHowMuch() {
        var pacer = Pacer(rateHz: 1000, onOverrun: .stop)
        pacer.restart(now: 0, completed: 0)
        #expect(pacer.ended(1, now: 1_000_000) == .goOn)
        #expect(pacer.ended(2, now: 2_345_678) == .stop(lateNanoseconds: 345_678))
        #expect(pacer.overruns == 1)
        // A freeze is an overrun like any other.
        pacer.began(3, now: 9_000_000_000)
        #expect(pacer.resynchronised == 0)
        #expect(pacer.ended(3, now: 9_000_000_001) == .stop(lateNanoseconds: 8_997_000_001))
    }

    @Test func theGraceIsCountedApartAndStopsNothing() {
        var pacer = Pacer(rateHz: 1000, onOverrun: .stop, graceSeconds: 0.01)
        pacer.restart(now: 1_000, completed: 0)
        #expect(pacer.ended(1, now: 5_000_000) == .goOn)
        #expect(pacer.ended(2, now: 10_000_999) == .goOn)
        #expect(pacer.graceOverruns == 2 && pacer.overruns == 0)
        #expect(pacer.ended(3, now: 10_001_000) == .stop(lateNanoseconds: 7_000_000))
        #expect(pacer.graceOverruns == 2 && pacer.overruns == 1)
        // It is not granted once more after a pause.
        pacer.restart(now: 20_000_000, completed: 3)
        #expect(pacer.ended(4, now: 21_000_001) == .stop(lateNanoseconds: 1))
    }

    @Test func latenessIsCountedFromEachFramesOwnStart() {
        var pacer = Pacer(rateHz: 1000)
        pacer.restart(now: 0, completed: 0)
        pacer.began(1, now: 0)
        pacer.began(2, now: 1_000_500)
        pacer.began(3, now: 1_999_000)
        pacer.began(4, now: .max)
        #expect(pacer.lateness.durations.count == 4)
        #expect(pacer.lateness.durations.percentile(50) < 8, "which is as exact as it gets")
        #expect(pacer.lateness.durations.longest >= 99_000_000_000)
    }
}
