import HermesModel
import HermesProtocol
import HermesSystem

/// The signals of a simulation that runs over several hosts, through its coordinator.
struct ControlledSignals: SignalSource {
    let name: String
    let all: [LiveSignal]
    private let byName: [ByteString: LiveSignal]
    private let rateHz: Double
    private var client: ControlClient { ControlClient(name: name) }

    /// - Throws: `RunFailure` when the simulation is staging or over.
    init(_ status: RunStatus) throws {
        name = status.name
        rateHz = status.rateHz
        let reply = try ControlClient(name: status.name).ask(ControlRequest(command: .signals))
        all = (reply.signals ?? []).enumerated().map { LiveSignal(index: UInt32($0), listing: $1) }
        byName = Dictionary(all.map { ($0.name.bytes, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func signal(named name: String) throws -> LiveSignal {
        if let found = byName[name.bytes] { return found }
        throw RunningSimulation.failure("there is no signal '\(name)'\(didYouMean(name, among: all.lazy.map(\.name)))")
    }

    var isPaused: Bool { (try? client.status())?.state == "paused" }

    func sample(_ signals: [LiveSignal]) throws -> (frame: UInt64, time: Double, bits: [UInt64]) {
        let reply = try client.ask(ControlRequest(command: .sample, slots: signals.map { Int($0.index) }))
        guard let frame = reply.frame, let bits = reply.bits, bits.count == signals.count else {
            throw RunningSimulation.failure(
                "the simulation '\(name)' was asked for \(signals.count) values and gave \(reply.bits?.count ?? 0)")
        }
        return (frame, Double(frame) / rateHz, bits)
    }

    func set(_ values: [(signal: LiveSignal, bits: UInt64)]) throws {
        _ = try client.ask(
            ControlRequest(command: .write, slots: values.map { Int($0.signal.index) }, bits: values.map(\.bits)))
    }
}
