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
        let (prefix, suffix) = Self.halves(wire.source.signal)
        let (left, right) = Self.halves(wire.destination.signal)
        let pairs = registry.signals.lazy
            .filter { $0.name.module.isSame(as: wire.source.module) }
            .map(\.name.signal)
            .filter { name in
                let name = name.utf8
                return name.count >= prefix.count + suffix.count && name.starts(with: prefix)
                    && name.suffix(suffix.count).elementsEqual(suffix)
            }
            .map { name -> (SignalName, SignalName) in
                let covered = name.utf8.dropFirst(prefix.count).dropLast(suffix.count)
                let other = String(decoding: Array(left) + covered + right, as: UTF8.self)
                return (
                    SignalName(module: wire.source.module, signal: name),
                    SignalName(module: wire.destination.module, signal: other)
                )
            }
        let expanded = Array(pairs)
        if expanded.isEmpty {
            error(wire.sourceLocation, "no signal of module \(wire.source.module) matches '\(wire.source.signal)'")
        }
        return expanded
    }

    /// What stands before and behind the star.
    private static func halves(_ pattern: String) -> (Substring.UTF8View, Substring.UTF8View) {
        let bytes = pattern.utf8
        guard let star = bytes.firstIndex(of: UInt8(ascii: "*")) else { return (bytes[...], bytes[bytes.endIndex...]) }
        return (bytes[..<star], bytes[bytes.index(after: star)...])
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
        error(location, "module \(name.module) has no signal '\(name.signal)'\(expansion)\(registry.hint(for: name))")
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
