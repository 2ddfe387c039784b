import HermesProtocol
import Synchronization

/// What somebody wants done between two frames, by whoever runs them: look at values, write some.
final class EdgeVisits: Sendable {
    /// - Parameter node: nil when the run is over and no edge will come.
    typealias Visit = @Sendable (_ node: (any NodeSession)?, _ frame: UInt64) -> Void

    private struct State {
        var visits: [Visit] = []
        var isOver = false
    }
    private let state = Mutex(State())
    /// An edge that nobody wants to visit takes no lock.
    private let count = Atomic<Int>(0)

    /// False when no edge will come; the visit is not made then.
    func post(_ visit: @escaping Visit) -> Bool {
        state.withLock { state in
            guard !state.isOver else { return false }
            state.visits.append(visit)
            count.store(state.visits.count, ordering: .releasing)
            return true
        }
    }

    func make(_ node: any NodeSession, frame: UInt64) {
        guard count.load(ordering: .acquiring) > 0 else { return }
        for visit in take(isOver: false) { visit(node, frame) }
    }

    func close(frame: UInt64) {
        for visit in take(isOver: true) { visit(nil, frame) }
    }

    private func take(isOver: Bool) -> [Visit] {
        state.withLock { state in
            defer { state.visits = [] }
            state.isOver = state.isOver || isOver
            count.store(0, ordering: .relaxed)
            return state.visits
        }
    }
}
