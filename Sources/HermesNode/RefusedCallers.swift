import Synchronization

/// Who was turned away at a socket, each with a tally of its own; from any thread.
final class RefusedCallers: Sendable {
    /// Whoever comes after so many different ones shares one tally with all others.
    private static let mostCallers = 100
    private let tallies = Mutex<[String: Tally]>([:])  // ASCII

    /// What to add to the line about this caller; nil when it is not to be told again.
    func add(_ caller: String) -> String? {
        tallies.withLock { tallies in
            let isKnown = tallies[caller] != nil || tallies.count < Self.mostCallers
            let name = isKnown ? caller : ""
            var tally = tallies[name] ?? Tally()
            defer { tallies[name] = tally }
            return tally.add() ? tally.times + (isKnown ? "" : " with others") : nil
        }
    }
}
