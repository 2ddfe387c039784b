import HermesModel
import HermesPlan
import HermesProtocol
import Synchronization

/// Keeps what `--print` shows each second and when the run is over.
final class LastValues: FrameObserver, @unchecked Sendable {
    private let names: [String]
    private var signals: [(name: String, slot: Int, type: SignalType)] = []
    /// Of the last completed frame, its time before them; beside it the node's slots may hold half of the next one.
    private let values: UnsafeMutablePointer<UInt64>
    /// Odd while they are written; 0 before there are any.
    private let turn = Atomic<UInt64>(0)
    /// The line of the last completed frame, once the run is over.
    private(set) var line: String?

    init(names: [String]) {
        self.names = names
        values = .allocate(capacity: names.count + 1)
        values.initialize(repeating: 0, count: names.count + 1)
    }

    deinit { values.deallocate() }

    func signals(of plan: Plan) -> [Int] { names.compactMap { plan.registry.index(of: $0) } }

    /// - Throws: `ConfigurationError` for a name that no module announced.
    func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws {
        signals = try names.map { name in
            guard let slot = plan.registry.index(of: name) else {
                let hint = didYouMean(name, among: plan.registry.signals.lazy.map(\.name.description))
                throw ConfigurationError([
                    Diagnostic(
                        .error, at: SourceLocation(file: "--print", line: 1, column: 1),
                        "there is no signal '\(name)'\(hint)")
                ])
            }
            return (name, slot, plan.registry.signals[slot].type)
        }
    }

    func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) {
        turn.add(1, ordering: .acquiringAndReleasing)
        values[0] = time.bitPattern
        for index in signals.indices { values[index + 1] = slots[signals[index].slot] }
        turn.add(1, ordering: .releasing)
    }

    /// The line of the frame completed last; nil before there is one, or when frames come too fast. From another thread.
    func current() -> String? {
        for _ in 0..<1000 {
            let before = turn.load(ordering: .acquiring)
            if before == 0 { return nil }
            let copy = Array(UnsafeBufferPointer(start: values, count: names.count + 1))
            atomicMemoryFence(ordering: .acquiring)
            if before % 2 == 0 && turn.load(ordering: .relaxed) == before { return line(copy) }
        }
        return nil
    }

    func modeChanged(isRealtime: Bool) {}

    func finish() {
        guard turn.load(ordering: .relaxed) > 0 else { return }
        line = line(Array(UnsafeBufferPointer(start: values, count: names.count + 1)))
    }

    private func line(_ values: [UInt64]) -> String {
        Self.line(
            time: Double(bitPattern: values[0]), zip(signals, values.dropFirst()).map { ($0.name, $1, $0.type) })
    }

    /// `t=1.5 vehicle.position=3.25 vehicle.on=true`
    static func line(time: Double, _ values: [(name: String, bits: UInt64, type: SignalType)]) -> String {
        let texts = values.map { "\($0.name)=\(SignalValue.text($0.bits, $0.type))" }
        return (["t=\(SignalValue.text(time))"] + texts).joined(separator: " ")
    }
}
