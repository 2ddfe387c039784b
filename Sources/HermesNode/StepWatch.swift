import HermesBackplane
import HermesPlan

/// Watches how long modules take over a step: half the time-out gives a warning, all of it ends the run.
struct StepWatch {
    enum Verdict: Equatable {
        /// Wait on until this moment (CLOCK_MONOTONIC nanoseconds).
        case wait(until: UInt64)
        case timedOut(module: Int, seconds: Double)
    }

    /// Nanoseconds for each module, `.max` for ever.
    private let timeouts: [UInt64]
    private let shortestHalf: UInt64
    private var warned: UInt64 = 0
    private var warnedModules: Set<Int> = []

    init(timeoutSeconds: [Double]) {
        timeouts = timeoutSeconds.map { $0 > 0 && $0 < 1e9 ? UInt64($0 * 1e9) : .max }
        shortestHalf = timeouts.min().map { $0 == .max ? .max : $0 / 2 } ?? .max
    }

    /// Looks at which an incomplete frame had nobody who owes anything, one after the other.
    private var idleLooks = 0
    private var idleFrame: UInt64 = 0

    /// Nothing moves a frame that is incomplete though all have answered: true when that is no moment between two of them.
    mutating func isStuck(frame: UInt64, isOwed: Bool) -> Bool {
        idleLooks = isOwed ? 0 : idleFrame == frame ? idleLooks + 1 : 1
        idleFrame = frame
        return idleLooks > 3
    }
    /// Nanoseconds to the next look at a frame in which nobody owes anything.
    static let idle: UInt64 = 100_000_000

    /// When to look for the first time in a frame that begins now.
    func firstLook(now: UInt64) -> UInt64 { shortestHalf == .max ? .max : now + shortestHalf }

    /// Looks at who is owed. `owed` gives the modules that have not answered and when their phase was released.
    mutating func look(
        now: UInt64, frame: UInt64, owed: [(module: Int, since: UInt64)], warn: (_ module: Int) -> Void
    ) -> Verdict {
        if warned != frame {
            warned = frame
            warnedModules = []
        }
        // On a busy machine this look may come late, and find others overdue besides the one whose time was up first.
        var first: (module: Int, due: UInt64)?
        for (module, since) in owed where timeouts[module] != .max {
            let due = since + timeouts[module]
            if due < first?.due ?? .max { first = (module, due) }
        }
        if let first, now >= first.due {
            return .timedOut(module: first.module, seconds: Double(timeouts[first.module]) / 1e9)
        }
        var next = now + 1_000_000_000
        for (module, since) in owed where timeouts[module] != .max {
            let waited = now > since ? now - since : 0
            if waited >= timeouts[module] / 2 {
                if warnedModules.insert(module).inserted { warn(module) }
                next = min(next, since + timeouts[module])
            } else {
                next = min(next, since + timeouts[module] / 2)
            }
        }
        return .wait(until: max(next, now + 1_000_000))
    }
}
