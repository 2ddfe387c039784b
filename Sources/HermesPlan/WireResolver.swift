import HermesModel
import HermesSystem

/// A wire between two known signals, by their indices in the registry.
public struct ResolvedWire: Sendable, Equatable {
    public var source, destination: Int
    public var gain, offset: Double
}

/// Looks up the signals of every wire, bulk wires expanded, and says what is wrong with them.
struct WireResolver {
    let simulation: Simulation
    let registry: SignalRegistry
    private(set) var diagnostics: [Diagnostic] = []
    private var drivers: [Int: Wire] = [:]
    /// Of modules that bulk wires leave.
    private var sorted: [ByteString: [(name: [UInt8], slot: Int)]] = [:]
    private var nearNames = NearNames()

    init(simulation: Simulation, registry: SignalRegistry) {
        self.simulation = simulation
        self.registry = registry
    }

    mutating func resolve() -> [ResolvedWire] {
        var resolved: [ResolvedWire] = []
        resolved.reserveCapacity(simulation.wires.count)
        for wire in simulation.wires {
            for (source, destination) in wire.isBulk ? expand(wire) : [(wire.source, wire.destination)] {
                guard let ends = look(wire, source, destination), check(wire, ends) else { continue }
                resolved.append(
                    ResolvedWire(
                        source: ends.source, destination: ends.destination, gain: wire.gain, offset: wire.offset))
            }
        }
        return resolved
    }

    /// The pairs a bulk wire stands for: whatever `*` covers in a source's name it covers in the destination's.
    private mutating func expand(_ wire: Wire) -> [(SignalName, SignalName)] {
        let (head, tail) = halves(wire.source.signal)
        let (left, right) = halves(wire.destination.signal)
        let expanded = slots(of: wire.source.module, beginningWith: head).compactMap {
            slot -> (SignalName, SignalName)? in
            let source = registry.signals[slot].name
            let name = Array(source.signal.utf8)
            guard name.count >= head.count + tail.count, name.suffix(tail.count).elementsEqual(tail) else { return nil }
            let covered = name[head.count..<(name.count - tail.count)]
            let destination = String(decoding: left + covered + right, as: UTF8.self)
            return (source, SignalName(module: wire.destination.module, signal: destination))
        }
        if expanded.isEmpty {
            error(wire.sourceLocation, "no signal of module \(wire.source.module) matches '\(wire.source.signal)'")
        }
        return expanded
    }

    /// Rising. A module's names are sorted once, so that each bulk wire pays for those it may mean.
    private mutating func slots(of module: String, beginningWith head: [UInt8]) -> [Int] {
        let all = registry.indices(ofModule: module)
        if head.isEmpty { return Array(all) }
        if sorted[module.bytes] == nil {
            sorted[module.bytes] = all.map { (name: Array(registry.signals[$0].name.signal.utf8), slot: $0) }
                .sorted { $0.name.lexicographicallyPrecedes($1.name) }
        }
        let names = sorted[module.bytes]!
        var low = 0, high = names.count
        while low < high {
            let middle = (low + high) / 2
            if names[middle].name.lexicographicallyPrecedes(head) { low = middle + 1 } else { high = middle }
        }
        return names[low...].prefix { $0.name.starts(with: head) }.map(\.slot).sorted()
    }

    private func halves(_ pattern: String) -> (head: [UInt8], tail: [UInt8]) {
        let bytes = Array(pattern.utf8)
        guard let star = bytes.firstIndex(of: UInt8(ascii: "*")) else { return (bytes, []) }
        return (Array(bytes[..<star]), Array(bytes[(star + 1)...]))
    }

    private mutating func look(
        _ wire: Wire, _ source: SignalName, _ destination: SignalName
    ) -> (source: Int, destination: Int)? {
        let from = registry.index(of: source.description), to = registry.index(of: destination.description)
        let expansion = wire.isBulk ? " (from '\(wire.source)')" : ""
        if from == nil { unknown(source, wire.sourceLocation, "") }
        if to == nil { unknown(destination, wire.destinationLocation, expansion) }
        guard let from, let to else { return nil }
        return (from, to)
    }

    private mutating func unknown(_ name: SignalName, _ location: SourceLocation, _ expansion: String) {
        let hint = registry.hint(for: name, &nearNames)
        error(location, "module \(name.module) has no signal '\(name.signal)'\(expansion)\(hint)")
    }

    private mutating func check(_ wire: Wire, _ ends: (source: Int, destination: Int)) -> Bool {
        let source = registry.signals[ends.source], destination = registry.signals[ends.destination]
        if ends.source == ends.destination {
            error(wire.destinationLocation, "'\(source.name)' is wired onto itself")
            return false
        }
        if destination.direction == .output {
            error(
                wire.destinationLocation,
                "'\(destination.name)' can't be wired: its module announces it as an output")
            return false
        }
        if let first = drivers[ends.destination] {
            error(
                wire.destinationLocation,
                "two wires drive '\(destination.name)'; the other stands at line \(first.destinationLocation.line)")
            return false
        }
        drivers[ends.destination] = wire
        if let from = source.unit, let to = destination.unit, !from.isSame(as: to), wire.gain == 1 {
            diagnostics.append(
                Diagnostic(
                    .warning, at: wire.sourceLocation,
                    "'\(source.name)' is in \(from), '\(destination.name)' in \(to), and the gain is 1"))
        }
        return true
    }

    private mutating func error(_ location: SourceLocation, _ message: String) {
        diagnostics.append(Diagnostic(.error, at: location, message))
    }
}
