import HermesModel
import Synchronization

/// Commands from any thread to the frames, and the word back once each has taken effect. What an edge does here does not
/// depend on how many commands wait.
public final class CommandMailbox: Sendable {
    /// Comes from the thread that runs the frames, which it is not to hold up: take it and go.
    public typealias Reply = @Sendable (Result<UInt64, CommandRefused>) -> Void
    /// Why a command was not carried out.
    public struct CommandRefused: Error, Sendable, CustomStringConvertible {
        public var description: String
    }

    /// A command that an edge has taken: whoever takes it sees to one of `refuse`, `expect` and `putBack`.
    struct Ticket: Sendable {
        let command: RunCommand
        let reply: Reply
    }

    private enum Expectation {
        /// In effect at the next edge.
        case edge
        case frame(UInt64)
        case reset
    }
    private struct Entry {
        let ticket: Ticket
        let expectation: Expectation
    }
    private struct State {
        /// Nobody has taken them.
        var posted: [Ticket] = []
        /// Those of `posted` that have been taken.
        var taken = 0
        /// Carried out, not answered.
        var waiting: [Entry] = []
        /// The last frame that one of these waits for.
        var farthest: UInt64 = 0
        var ended: String?

        var count: Int { posted.count - taken + waiting.count }
    }
    private let state = Mutex(State())
    /// How many commands lack their answer: an edge that nobody sent one to takes no lock.
    private let count = Atomic<Int>(0)
    private let onPost: @Sendable () -> Void
    /// Commands that one edge takes.
    private static let mostTaken = 64

    init(onPost: @escaping @Sendable () -> Void) { self.onPost = onPost }

    /// `reply` comes once, from another thread, with the frame at which the command took effect: for `step` when its
    /// frames are complete, for `pause` at the edge where it holds, for `reset` when frame 0 is there. A `stop` passes
    /// what would keep it from the next edge.
    public func post(_ command: RunCommand, reply: @escaping Reply = { _ in }) {
        let ended = change { state -> String? in
            if state.ended == nil {
                let ticket = Ticket(command: command, reply: reply)
                let end = state.posted.count
                state.posted.insert(
                    ticket, at: command == .stop ? min(state.taken + Self.mostTaken - 1, end) : end)
            }
            return state.ended
        }
        if let ended { reply(.failure(CommandRefused(description: ended))) } else { onPost() }
    }

    /// The next commands in order. When there are more than an edge takes, attention is called to the rest.
    func take() -> [Ticket] {
        guard count.load(ordering: .acquiring) > 0 else { return [] }
        let (tickets, hasMore) = state.withLock { state in
            let tickets = Array(state.posted[state.taken...].prefix(Self.mostTaken))
            state.taken += tickets.count
            let hasMore = state.taken < state.posted.count
            if !hasMore {
                state.posted.removeAll(keepingCapacity: true)
                state.taken = 0
            }
            return (tickets, hasMore)
        }
        if hasMore { onPost() }
        return tickets
    }

    /// What an edge took and can't carry out yet comes again, ahead of what was posted since.
    func putBack(_ tickets: [Ticket]) {
        if tickets.isEmpty { return }
        change { state in
            state.posted.replaceSubrange(..<state.taken, with: tickets)
            state.taken = 0
        }
    }

    func refuse(_ ticket: Ticket, _ reason: String) {
        ticket.reply(.failure(CommandRefused(description: reason)))
        change { _ in }
    }

    /// It has been carried out, and is answered when that has taken effect.
    func expect(_ ticket: Ticket, frame: UInt64? = nil) {
        change { state in
            let expectation: Expectation =
                switch ticket.command {
                case .step: .frame(frame ?? 0)
                case .reset: .reset
                case .pause, .resume, .setMode, .stop: .edge
                }
            if case .frame(let target) = expectation { state.farthest = max(state.farthest, target) }
            state.waiting.append(Entry(ticket: ticket, expectation: expectation))
        }
    }

    /// Answers what has come true at an edge. Returns the earliest frame that somebody still waits for, `.max` for none.
    func settle(frame: UInt64) -> UInt64 {
        guard count.load(ordering: .acquiring) > 0 else { return .max }
        answer { expectation in
            switch expectation {
            case .edge: frame
            case .frame(let target): frame >= target ? frame : nil
            case .reset: nil
            }
        }
        return state.withLock { state in
            var earliest = UInt64.max
            for entry in state.waiting {
                if case .frame(let target) = entry.expectation { earliest = min(earliest, target) }
            }
            return earliest
        }
    }

    /// Frames beyond `last` will not come for those who asked to step to them.
    func refuseSteps(beyond last: UInt64, _ reason: String) {
        let refused = change { state in
            var refused: [(reply: Reply, target: UInt64)] = []
            guard state.farthest > last else { return refused }
            state.farthest = last
            state.waiting.removeAll { entry in
                guard case .frame(let target) = entry.expectation, target > last else { return false }
                refused.append((entry.ticket.reply, target))
                return true
            }
            return refused
        }
        for (reply, target) in refused {
            reply(.failure(CommandRefused(description: "frame \(target) was not reached: \(reason)")))
        }
    }

    func settleReset() {
        answer { if case .reset = $0 { 0 } else { nil } }
    }

    /// The run is over: everything still waiting is told why. Later posts too.
    func close(_ reason: String, frame: UInt64) {
        let (posted, waiting) = change { state in
            state.ended = reason
            let left = (Array(state.posted[state.taken...]), state.waiting)
            (state.posted, state.taken, state.waiting) = ([], 0, [])
            return left
        }
        for entry in waiting {
            if case .frame(let target) = entry.expectation, frame >= target {
                entry.ticket.reply(.success(frame))
            } else {
                end(entry.ticket, reason, frame)
            }
        }
        for ticket in posted { end(ticket, reason, frame) }
    }

    private func end(_ ticket: Ticket, _ reason: String, _ frame: UInt64) {
        ticket.reply(ticket.command == .stop ? .success(frame) : .failure(CommandRefused(description: reason)))
    }

    private func change<Result>(_ body: (inout State) -> sending Result) -> sending Result {
        state.withLock { state in
            defer { count.store(state.count, ordering: .releasing) }
            return body(&state)
        }
    }

    private func answer(_ decide: (Expectation) -> UInt64?) {
        let answered = change { state in
            var answered: [(Reply, UInt64)] = []
            state.waiting.removeAll { entry in
                // A stop is answered when everything is gone.
                guard entry.ticket.command != .stop, let frame = decide(entry.expectation) else { return false }
                answered.append((entry.ticket.reply, frame))
                return true
            }
            return answered
        }
        for (reply, frame) in answered { reply(.success(frame)) }
    }
}
