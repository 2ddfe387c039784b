/// Counts what strangers do. It is told the first time, and then whenever there is ten times as much: nobody fills a log.
struct Tally: Sendable {
    private(set) var count = 0
    private var next = 1

    /// True when it is to be told.
    mutating func add() -> Bool {
        count += 1
        guard count >= next else { return false }
        next *= 10
        return true
    }

    /// "", or how often it was by now.
    var times: String { count == 1 ? "" : ", \(count) times by now" }
}
