/// How often a module's process is started again, and after what pause: failures and steps go in.
struct RestartLadder: Equatable {
    /// Steps without a failure after which the next one counts as the first.
    static let calmSteps = 100
    private static let shortestPause = 0.1
    private static let longestPause = 2.0

    let limit: Int
    private(set) var restarts = 0
    private var pause = shortestPause
    private var steps = 0

    init(limit: Int) { self.limit = limit }

    /// It failed once more. Seconds to wait before its process is started again; nil when that was done often enough.
    mutating func fail() -> Double? {
        guard restarts < limit else { return nil }
        restarts += 1
        if steps >= Self.calmSteps { pause = Self.shortestPause }
        steps = 0
        defer { pause = min(pause * 2, Self.longestPause) }
        return pause
    }

    /// It has made a step.
    mutating func step() { steps += 1 }
}
