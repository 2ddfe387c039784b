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
        #expect(pacer.lateness.maxRecorded >= 990_000_000, "what was late stays in the statistics")
    }

    @Test func aSlowRateIsNotBehindWithinItsPeriod() {
        var pacer = Pacer(rateHz: 0.1)
        pacer.restart(now: 0, completed: 0)
        pacer.began(2, now: 19_000_000_000)
        #expect(pacer.resynchronised == 0 && pacer.start(of: 3) == 20_000_000_000)
        pacer.began(3, now: 30_000_000_001)
        #expect(pacer.resynchronised == 1 && pacer.start(of: 4) == 40_000_000_001)
    }

    @Test func latenessIsCountedFromEachFramesOwnStart() {
        var pacer = Pacer(rateHz: 1000)
        pacer.restart(now: 0, completed: 0)
        pacer.began(1, now: 0)
        pacer.began(2, now: 1_000_500)
        pacer.began(3, now: 1_999_000)
        pacer.began(4, now: .max)
        #expect(pacer.lateness.totalCount == 4)
        #expect(pacer.lateness.valueAtPercentile(50) == 0)
        #expect(pacer.lateness.maxRecorded >= 99_000_000_000)
    }
}
