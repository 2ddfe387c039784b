import HermesModel
import Synchronization

/// Commands from any thread to the frames, and the word back once each has taken effect.
public final class CommandMailbox: Sendable {
    public typealias Reply = @Sendable (Result<UInt64, CommandRefused>) -> Void
    /// Why a command was not carried out.
    public struct CommandRefused: Error, Sendable, CustomStringConvertible {
        public var description: String
    }

    struct Ticket: Sendable {
        let number: Int
    }

    private enum Expectation {
        case posted
        /// In effect at the next edge.
        case edge
        case frame(UInt64)
        case reset
    }
    private struct Entry {
        let number: Int
        let command: RunCommand
        let reply: Reply
        var expectation = Expectation.posted
    }
    private struct State {
        var entries: [Entry] = []
        var next = 0
        var ended: String?
    }
    private let state = Mutex(State())
    /// How many commands lack their answer: an edge that nobody sent one to takes no lock.
    private let count = Atomic<Int>(0)
    private let onPost: @Sendable () -> Void

    init(onPost: @escaping @Sendable () -> Void) { self.onPost = onPost }

    /// `reply` comes once, from another thread, with the frame at which the command took effect: for `step` when its
    /// frames are complete, for `pause` at the edge where it holds, for `reset` when frame 0 is there.
    public func post(_ command: RunCommand, reply: @escaping Reply = { _ in }) {
        let ended = change { state -> String? in
            if state.ended == nil {
                state.entries.append(Entry(number: state.next, command: command, reply: reply))
                state.next += 1
            }
            return state.ended
        }
        if let ended { reply(.failure(CommandRefused(description: ended))) } else { onPost() }
    }

    func take() -> [(RunCommand, Ticket)] {
        guard count.load(ordering: .acquiring) > 0 else { return [] }
        return state.withLock { state in
            state.entries.filter { if case .posted = $0.expectation { true } else { false } }
                .map { ($0.command, Ticket(number: $0.number)) }
        }
    }

    func refuse(_ ticket: Ticket, _ reason: String) {
        let entry = change { state in
            state.entries.firstIndex { $0.number == ticket.number }.map { state.entries.remove(at: $0) }
        }
        entry?.reply(.failure(CommandRefused(description: reason)))
    }

    func expect(_ ticket: Ticket, frame: UInt64? = nil) {
        state.withLock { state in
            guard let index = state.entries.firstIndex(where: { $0.number == ticket.number }) else { return }
            state.entries[index].expectation =
                switch state.entries[index].command {
                case .step: .frame(frame ?? 0)
                case .reset: .reset
                case .pause, .resume, .setMode, .stop: .edge
                }
        }
    }

    /// Answers what has come true at an edge. Returns the earliest frame that somebody still waits for, `.max` for none.
    func settle(frame: UInt64) -> UInt64 {
        guard count.load(ordering: .acquiring) > 0 else { return .max }
        answer { expectation in
            switch expectation {
            case .edge: frame
            case .frame(let target): frame >= target ? frame : nil
            case .posted, .reset: nil
            }
        }
        return state.withLock { state in
            state.entries.compactMap { if case .frame(let target) = $0.expectation { target } else { nil } }.min()
                ?? .max
        }
    }

    /// Frames beyond `last` will not come for those who asked to step to them.
    func refuseSteps(beyond last: UInt64, _ reason: String) {
        let refused = change { state in
            var refused: [(reply: Reply, target: UInt64)] = []
            state.entries.removeAll { entry in
                guard case .frame(let target) = entry.expectation, target > last else { return false }
                refused.append((entry.reply, target))
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
        let entries = change { state in
            state.ended = reason
            defer { state.entries = [] }
            return state.entries
        }
        for entry in entries {
            if case .frame(let target) = entry.expectation, frame >= target {
                entry.reply(.success(frame))
            } else if entry.command == .stop {
                entry.reply(.success(frame))
            } else {
                entry.reply(.failure(CommandRefused(description: reason)))
            }
        }
    }

    private func change<Result>(_ body: (inout State) -> sending Result) -> sending Result {
        state.withLock { state in
            defer { count.store(state.entries.count, ordering: .releasing) }
            return body(&state)
        }
    }

    private func answer(_ decide: (Expectation) -> UInt64?) {
        let answered = change { state in
            var answered: [(Reply, UInt64)] = []
            state.entries.removeAll { entry in
                // A stop is answered when everything is gone.
                guard entry.command != .stop, let frame = decide(entry.expectation) else { return false }
                answered.append((entry.reply, frame))
                return true
            }
            return answered
        }
        for (reply, frame) in answered { reply(.success(frame)) }
    }
}
