import HermesModel
import HermesTiming

/// Absolute deadlines of realtime frames. Frame n begins at base + (n - 1 - first) / rate, computed from n: a late
/// frame delays no other, and nothing drifts. What a frame does to those behind it that ends after its deadline, the start
/// of the next, is `onOverrun`'s to say.
struct Pacer {
    enum Verdict: Equatable {
        case goOn
        /// The frame overran, and that is to end the run.
        case stop(lateNanoseconds: UInt64)
    }

    private let rateHz: Double
    private let policy: OverrunPolicy
    private let graceNanoseconds: UInt64
    private var base: UInt64 = 0
    private var baseFrame: UInt64 = 0
    /// Deadlines left out since the restart.
    private var leftOut: UInt64 = 0
    /// When the first frame of all was due.
    private var firstStart: UInt64?
    /// How late frames began.
    private(set) var lateness = DurationRecorder()
    /// How late the thread that slept until a frame's start woke up: the system's part of the lateness, without what a frame
    /// before has taken too long.
    private(set) var wakeUps = DurationRecorder()
    /// Frames that ended after their deadline, save those that did so in the grace.
    private(set) var overruns: UInt64 = 0
    /// Those.
    private(set) var graceOverruns: UInt64 = 0
    /// How often deadlines began anew after a freeze.
    private(set) var resynchronised: UInt64 = 0
    /// Deadlines at which no frame began, by `skip`.
    private(set) var skippedDeadlines: UInt64 = 0
    /// By how much deadlines have moved, by `slip`.
    private(set) var slippedNanoseconds: UInt64 = 0
    /// Further behind than this, and than a period, frames don't catch up.
    private static let longestLag: UInt64 = 1_000_000_000

    init(rateHz: Double, onOverrun policy: OverrunPolicy = .catchUp, graceSeconds: Double = 0) {
        self.rateHz = rateHz
        self.policy = policy
        graceNanoseconds = UInt64(min(graceSeconds * 1e9, 9e18))
    }

    /// Deadlines count from now: frame `completed + 1` may begin at once.
    mutating func restart(now: UInt64, completed: UInt64) {
        base = now
        baseFrame = completed
        leftOut = 0
        if firstStart == nil { firstStart = now }
    }

    /// When a frame begins, CLOCK_MONOTONIC nanoseconds; `.max` for what no clock reaches.
    func start(of frame: UInt64) -> UInt64 {
        guard frame > baseFrame + 1 else { return deadline(leftOut) }
        return deadline(frame - 1 - baseFrame + leftOut)
    }

    /// Of the grid that begins with `base`, counted from 0.
    private func deadline(_ number: UInt64) -> UInt64 {
        guard number > 0 else { return base }
        let frames = Double(number)
        // Whole seconds apart: years of nanoseconds have more digits than a Double.
        let rest = frames.truncatingRemainder(dividingBy: rateHz)
        let seconds = ((frames - rest) / rateHz).rounded()
        let nanoseconds = (rest * 1e9 / rateHz).rounded()
        guard seconds >= 0, seconds < 9e9, nanoseconds >= 0, nanoseconds < 9e18 else { return .max }
        let (start, overflows) = base.addingReportingOverflow(UInt64(seconds) * 1_000_000_000 + UInt64(nanoseconds))
        return overflows ? .max : start
    }

    /// When a frame that has not begun is to begin: at its start, or with `skip`, once more than a period has gone by
    /// without it, at the next deadline.
    mutating func due(_ frame: UInt64, now: UInt64) -> UInt64 {
        let start = start(of: frame)
        guard policy == .skip, now > start, now > self.start(of: frame + 1) else { return start }
        lateness.record(now - start)
        count(now)
        leaveOut(before: frame, now: now)
        return self.start(of: frame)
    }

    /// - Parameter hasSlept: until its start, which was still to come.
    mutating func began(_ frame: UInt64, now: UInt64, hasSlept: Bool = false) {
        let start = start(of: frame)
        let lag = now > start ? now - start : 0
        lateness.record(lag)
        if hasSlept { wakeUps.record(lag) }
        guard effectivePolicy(now) == .catchUp, lag > Self.longestLag, now > self.start(of: frame + 1) else { return }
        count(now)
        resynchronised += 1
        restart(now: now, completed: frame - 1)
    }

    /// A frame ends by the time the next one begins.
    @discardableResult
    mutating func ended(_ frame: UInt64, now: UInt64) -> Verdict {
        let end = start(of: frame + 1)
        guard now > end else { return .goOn }
        let policy = effectivePolicy(now)
        count(now)
        switch policy {
        case .catchUp: break
        case .slip:
            slippedNanoseconds += now - end
            restart(now: now, completed: frame)
        case .skip: leaveOut(before: frame + 1, now: now)
        case .stop: return .stop(lateNanoseconds: now - end)
        }
        return .goOn
    }

    private func isInGrace(_ now: UInt64) -> Bool {
        guard let firstStart else { return false }
        return now - min(firstStart, now) < graceNanoseconds
    }

    /// Nothing stops a run in the grace; it catches up.
    private func effectivePolicy(_ now: UInt64) -> OverrunPolicy {
        policy == .stop && isInGrace(now) ? .catchUp : policy
    }

    private mutating func count(_ now: UInt64) {
        if isInGrace(now) { graceOverruns += 1 } else { overruns += 1 }
    }

    /// Frame `frame` gets the first deadline that is not over.
    private mutating func leaveOut(before frame: UInt64, now: UInt64) {
        let own = frame - 1 - baseFrame + leftOut
        let passed = (Double(now - base) * (rateHz / 1e9)).rounded(.down)
        guard passed < 9e18 else { return }
        // What a Double of nanoseconds lacks in digits is put right here.
        var next = max(own, UInt64(max(passed, 1)) - 1)
        while deadline(next) < now { next += 1 }
        while next > own, deadline(next - 1) >= now { next -= 1 }
        skippedDeadlines += next - own
        leftOut += next - own
    }
}
