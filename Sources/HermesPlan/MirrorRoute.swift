/// What travels from one host to another in each frame: which values, in which message, and by when each message must be
/// there. A value travels once however many wires read it.
struct MirrorRoute {
    struct Value {
        /// Index in the whole registry.
        var source: Int
        /// It is read when the modules of this phase, its module's, are done.
        var phase: Int
        /// The wires it feeds on the other host, each with the phase at whose end it is delivered there.
        var wires: [(wire: ResolvedWire, due: Int)]
        var earliestDue: Int { wires.map(\.due).min() ?? 0 }
    }
    struct Message {
        /// Sent when the modules of this phase are done.
        var phase: Int
        /// Indices into `values`.
        var values: Range<Int>
        /// Waited for before the wires of this phase are delivered.
        var dueBefore: Int
    }

    var from, to: Int
    /// In the order they travel.
    var values: [Value]
    /// In the order of their phases.
    var messages: [Message]

    /// Every pair of hosts that has something to tell, in the order of their first wires.
    static func all(_ plan: Plan) -> [MirrorRoute] {
        struct Pair: Hashable { var from, to: Int }
        var order: [Pair] = []
        var found: [Pair: [Int: Value]] = [:]
        for wire in plan.wires {
            let source = plan.modules[plan.registry.signals[wire.source].module]
            let target = plan.modules[plan.registry.signals[wire.destination].module]
            guard source.host != target.host else { continue }
            let pair = Pair(from: source.host, to: target.host)
            if found[pair] == nil { order.append(pair) }
            let due = due(source.phase, target.phase, phaseCount: plan.phases.count)
            found[pair, default: [:]][wire.source, default: Value(source: wire.source, phase: source.phase, wires: [])]
                .wires.append((wire, due))
        }
        return order.map { MirrorRoute($0.from, $0.to, Array(found[$0]!.values), phaseCount: plan.phases.count) }
    }

    /// The last moment at which a wire may be delivered on the other host without anybody there seeing a difference: its
    /// destination is read when the destination's module steps, by wires that leave that module's phase, and at the
    /// frame's end. For a later phase that is just before it begins, for any other the end of the frame.
    private static func due(_ source: Int, _ target: Int, phaseCount: Int) -> Int {
        target > source ? target - 1 : phaseCount - 1
    }

    private init(_ from: Int, _ to: Int, _ unordered: [Value], phaseCount: Int) {
        self.from = from
        self.to = to
        // What nobody waits for within the frame rides in a later message of the frame, at the latest in the last.
        let urgent = unordered.filter { $0.earliestDue < phaseCount - 1 }.map(\.phase)
        let phases = Set(urgent + [unordered.map(\.phase).max() ?? 0]).sorted()
        // For each phase the one whose message takes its values along.
        var rides = Array(repeating: 0, count: phaseCount), next = phases.count - 1
        for phase in rides.indices.reversed() {
            while next > 0 && phases[next - 1] >= phase { next -= 1 }
            rides[phase] = phases[next]
        }
        func message(_ value: Value) -> Int { rides[value.phase] }
        values = unordered.sorted { (message($0), $0.phase, $0.source) < (message($1), $1.phase, $1.source) }
        messages = []
        for phase in phases {
            let start = messages.last?.values.upperBound ?? 0
            var end = start
            while end < values.count && message(values[end]) == phase { end += 1 }
            let due = values[start..<end].map(\.earliestDue).min() ?? phaseCount - 1
            messages.append(Message(phase: phase, values: start..<end, dueBefore: due))
        }
        // Messages are taken in the order in which they come: one that is due early has those before it due as early.
        for index in messages.indices.dropLast().reversed() {
            messages[index].dueBefore = min(messages[index].dueBefore, messages[index + 1].dueBefore)
        }
    }
}
