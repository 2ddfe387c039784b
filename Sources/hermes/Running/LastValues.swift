import HermesModel
import HermesPlan
import HermesProtocol

/// Keeps what `--print` shows when the run is over.
final class LastValues: FrameObserver {
    private let names: [String]
    private var signals: [(name: String, slot: Int, type: SignalType)] = []
    /// Of the last completed frame; beside it the node's slots may hold half of the next one.
    private var values: [UInt64] = []
    private var hasValues = false
    private var time = 0.0
    /// The line of the last completed frame, once the run is over.
    private(set) var line: String?

    init(names: [String]) { self.names = names }

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
        if values.count != signals.count { values = [UInt64](repeating: 0, count: signals.count) }
    }

    func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) {
        self.time = time
        for index in signals.indices { values[index] = slots[signals[index].slot] }
        hasValues = true
    }

    func modeChanged(isRealtime: Bool) {}

    func finish() {
        guard hasValues else { return }
        line = Self.line(time: time, zip(signals, values).map { ($0.name, $1, $0.type) })
    }

    /// `t=1.5 vehicle.position=3.25 vehicle.on=true`
    static func line(time: Double, _ values: [(name: String, bits: UInt64, type: SignalType)]) -> String {
        let texts = values.map { "\($0.name)=\(SignalValue.text($0.bits, $0.type))" }
        return (["t=\(SignalValue.text(time))"] + texts).joined(separator: " ")
    }
}
