import Histogram

/// Absolute deadlines of realtime frames. Frame n begins at base + (n - 1 - first) / rate, computed from n: a late
/// frame delays no other, and nothing drifts.
struct Pacer {
    private let rateHz: Double
    private var base: UInt64 = 0
    private var baseFrame: UInt64 = 0
    /// How late frames began, nanoseconds; up to 100 s.
    private(set) var lateness = Histogram<UInt64>(
        highestTrackableValue: 100_000_000_000, numberOfSignificantValueDigits: .three)
    private(set) var overruns: UInt64 = 0
    /// How often deadlines began anew after a freeze.
    private(set) var resynchronised: UInt64 = 0
    /// Further behind than this, and than a period, frames don't catch up.
    private static let longestLag: UInt64 = 1_000_000_000

    init(rateHz: Double) { self.rateHz = rateHz }

    /// Deadlines count from now: frame `completed + 1` may begin at once.
    mutating func restart(now: UInt64, completed: UInt64) {
        base = now
        baseFrame = completed
    }

    /// When a frame begins, CLOCK_MONOTONIC nanoseconds; `.max` for what no clock reaches.
    func start(of frame: UInt64) -> UInt64 {
        guard frame > baseFrame + 1 else { return base }
        let frames = Double(frame - 1 - baseFrame)
        // Whole seconds apart: years of nanoseconds have more digits than a Double.
        let rest = frames.truncatingRemainder(dividingBy: rateHz)
        let seconds = ((frames - rest) / rateHz).rounded()
        let nanoseconds = (rest * 1e9 / rateHz).rounded()
        guard seconds >= 0, seconds < 9e9, nanoseconds >= 0, nanoseconds < 9e18 else { return .max }
        let (start, overflows) = base.addingReportingOverflow(UInt64(seconds) * 1_000_000_000 + UInt64(nanoseconds))
        return overflows ? .max : start
    }

    mutating func began(_ frame: UInt64, now: UInt64) {
        let start = start(of: frame)
        let lag = now > start ? now - start : 0
        lateness.record(min(lag, 100_000_000_000))
        guard lag > Self.longestLag, now > self.start(of: frame + 1) else { return }
        overruns += 1
        resynchronised += 1
        restart(now: now, completed: frame - 1)
    }

    /// A frame ends by the time the next one begins.
    mutating func ended(_ frame: UInt64, now: UInt64) {
        if now > start(of: frame + 1) { overruns += 1 }
    }
}
