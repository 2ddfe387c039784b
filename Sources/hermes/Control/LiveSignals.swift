import HermesModel
import HermesProtocol

/// A signal of a running simulation.
struct LiveSignal {
    var index: UInt32
    var listing: SignalListing
    var name: String { listing.name }
    var type: SignalType { listing.type }
}

/// Where the signals of a running simulation are reached: its segment, or, over several hosts, its coordinator.
protocol SignalSource {
    var name: String { get }
    var all: [LiveSignal] { get }
    /// - Throws: `RunFailure` naming a near one when there is no such signal.
    func signal(named name: String) throws -> LiveSignal
    var isPaused: Bool { get }
    /// Values of one frame.
    func sample(_ signals: [LiveSignal]) throws -> (frame: UInt64, time: Double, bits: [UInt64])
    /// Queues values that the next frame begins with, all together.
    /// - Throws: `RunFailure` when one of them is refused; then none is applied.
    func set(_ values: [(signal: LiveSignal, bits: UInt64)]) throws
}

enum LiveSignals {
    /// - Throws: `RunFailure` when the simulation is staging or over.
    static func of(_ name: String) throws -> any SignalSource {
        // What `verify` runs for itself has no control socket; neither has a part of somebody else's run.
        guard RunningSimulation.commanded().contains(name) else { return try SegmentSignals(of: name) }
        let status = try ControlClient(name: name).status()
        return status.hosts > 1 ? try ControlledSignals(status) : try SegmentSignals(of: name)
    }
}

extension SignalSource {
    /// Signals by name and by pattern, each once, in the order asked for; those of a pattern ordered by name.
    /// - Throws: `RunFailure` for whatever matches nothing.
    func signals(matching wanted: [String]) throws -> [LiveSignal] {
        var found: [LiveSignal] = []
        var seen: Set<UInt32> = []
        let all = wanted.contains { NamePattern($0) != nil } ? all : []
        for text in wanted {
            let matches: [LiveSignal]
            if let pattern = NamePattern(text) {
                matches = all.filter { pattern.matches($0.name) }.sorted { $0.listing < $1.listing }
                guard !matches.isEmpty else { throw RunningSimulation.failure("no signal matches '\(text)'") }
            } else {
                matches = [try signal(named: text)]
            }
            found += matches.filter { seen.insert($0.index).inserted }
        }
        return found
    }
}
