import HermesProtocol
import Synchronization

/// What outsiders want done between two frames, by the thread that runs them: look at values, write some. An edge makes a
/// part of them, as much as takes no time worth speaking of; the rest waits, in order, for the edges behind it.
final class EdgeVisits: Sendable {
    /// - Parameter node: nil when the run is over and no edge will come.
    typealias Visit = @Sendable (_ node: (any NodeSession)?, _ frame: UInt64) -> Void

    /// What one edge copies at most, save that one visit may want more by itself.
    private static let mostValues = 1 << 15
    private static let mostVisits = 64

    private static let nothing: Visit = { _, _ in }

    private struct State {
        var visits: [(values: Int, visit: Visit)] = []
        /// Those before it have been made.
        var next = 0
        var isOver = false
    }
    private let state = Mutex(State())
    /// An edge that has no visitor takes no lock.
    private let count = Atomic<Int>(0)

    var areWaiting: Bool { count.load(ordering: .acquiring) > 0 }

    /// False when no edge will come; the visit is not made then.
    /// - Parameter values: how many it copies.
    func post(values: Int, _ visit: @escaping Visit) -> Bool {
        state.withLock { state in
            guard !state.isOver else { return false }
            state.visits.append((values, visit))
            count.store(state.visits.count - state.next, ordering: .releasing)
            return true
        }
    }

    func make(_ node: any NodeSession, frame: UInt64) {
        guard areWaiting else { return }
        for visit in take(values: Self.mostValues, visits: Self.mostVisits) { visit(node, frame) }
    }

    func close(frame: UInt64) {
        state.withLock { $0.isOver = true }
        for visit in take(values: .max, visits: .max) { visit(nil, frame) }
    }

    private func take(values mostValues: Int, visits mostVisits: Int) -> [Visit] {
        state.withLock { state in
            var taken: [Visit] = []
            var values = 0
            while state.next < state.visits.count, taken.count < mostVisits {
                let next = state.visits[state.next]
                guard taken.isEmpty || next.values <= mostValues - values else { break }
                values += min(next.values, mostValues)
                taken.append(next.visit)
                // What it holds is let go of with it.
                state.visits[state.next] = (0, Self.nothing)
                state.next += 1
            }
            if state.next == state.visits.count {
                state.visits.removeAll(keepingCapacity: true)
                state.next = 0
            } else if state.next > 16 * Self.mostVisits {
                // Clients that ask again at once may never leave it empty.
                state.visits.removeFirst(state.next)
                state.next = 0
            }
            count.store(state.visits.count - state.next, ordering: .relaxed)
            return taken
        }
    }
}
