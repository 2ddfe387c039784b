import HermesModel
import HermesSystem

/// What a configuration alone says of its frames, before any module has announced a signal: phases, placement, rates,
/// each wire's delay, mirrors between hosts and chains of wires. A pure function of the simulation.
public struct PlanOutline: Sendable {
    public struct Member: Sendable, Equatable {
        public var name: String
        public var kind: Module.Kind
        /// Nil: the desk.
        public var host: String?
        /// From 0.
        public var phase: Int
        /// Steps in frames 1, 1 + divisor, 1 + 2 * divisor...
        public var divisor: Int
        public var rateHz: Double
        /// Seconds a step covers.
        public var dt: Double
    }

    /// A wire as configured: a bulk wire is one entry.
    public struct Link: Sendable, Equatable {
        public var source, destination: SignalName
        public var gain, offset: Double
        public var fromHost, toHost: String?
        /// Delivered when the modules of this phase are done.
        public var phase: Int
        /// 0: its destination's module sees the value in the same frame. 1: in the next.
        public var delayFrames: Int

        public var crossesHosts: Bool { fromHost != toHost }
    }

    /// What one host sends another after a phase.
    public struct Mirror: Sendable, Equatable {
        public var from, to: String?
        public var phase: Int
        /// Indices into `links`.
        public var links: [Int]
    }

    /// A wire that passes on what another delivered.
    public struct Chain: Sendable, Equatable {
        /// Indices into `links`.
        public var first, second: Int
        public var delayFrames: Int
        /// With one wire from the first source to the last destination.
        public var directDelayFrames: Int
    }

    public var phases: [[String]]
    /// In file order.
    public var modules: [Member]
    /// In file order.
    public var links: [Link]
    /// By phase, then in the order of the hosts' first wires.
    public var mirrors: [Mirror]
    public var chains: [Chain]

    public init(_ simulation: Simulation) {
        phases = simulation.execution.schedule
        let phaseOf = Dictionary(
            phases.enumerated().flatMap { phase, names in names.map { ($0.bytes, phase) } },
            uniquingKeysWith: { first, _ in first })
        let hostOf = Dictionary(
            simulation.modules.map { ($0.name.bytes, $0.host) }, uniquingKeysWith: { first, _ in first })
        let base = simulation.execution.rateHz
        modules = simulation.modules.map { module in
            let divisor = module.rateHz.flatMap { StepInterval.frames(rateHz: $0, baseRateHz: base) } ?? 1
            return Member(
                name: module.name, kind: module.kind, host: module.host, phase: phaseOf[module.name.bytes] ?? 0,
                divisor: divisor, rateHz: base / Double(divisor), dt: Double(divisor) / base)
        }
        links = simulation.wires.map { wire in
            let phase = phaseOf[wire.source.module.bytes] ?? 0
            return Link(
                source: wire.source, destination: wire.destination, gain: wire.gain, offset: wire.offset,
                fromHost: hostOf[wire.source.module.bytes] ?? nil, toHost: hostOf[wire.destination.module.bytes] ?? nil,
                phase: phase, delayFrames: Self.delay(from: phase, to: phaseOf[wire.destination.module.bytes] ?? 0))
        }
        mirrors = Self.mirrors(links, phases.count)
        chains = Self.chains(links) { phaseOf[$0.module.bytes] ?? 0 }
    }

    /// A wire to a later phase arrives in the same frame, any other for the next.
    private static func delay(from source: Int, to destination: Int) -> Int { destination > source ? 0 : 1 }

    private static func mirrors(_ links: [Link], _ phaseCount: Int) -> [Mirror] {
        struct Road: Hashable {
            var from, to: String?
            var phase: Int
        }
        var mirrors = Array(repeating: [Mirror](), count: phaseCount)
        var places: [Road: Int] = [:]
        for (index, link) in links.enumerated() where link.crossesHosts {
            let road = Road(from: link.fromHost, to: link.toHost, phase: link.phase)
            if let place = places[road] {
                mirrors[link.phase][place].links.append(index)
            } else {
                places[road] = mirrors[link.phase].count
                mirrors[link.phase].append(
                    Mirror(from: link.fromHost, to: link.toHost, phase: link.phase, links: [index]))
            }
        }
        return Array(mirrors.joined())
    }

    private static func chains(_ links: [Link], phase: (SignalName) -> Int) -> [Chain] {
        var leaving: [ByteString: NameIndex] = [:]
        for (index, link) in links.enumerated() {
            leaving[link.source.module.bytes, default: NameIndex()].add(link.source.signal, index)
        }
        for module in leaving.keys { leaving[module]?.sort() }
        return links.indices.flatMap { first in
            let arriving = links[first].destination
            return (leaving[arriving.module.bytes]?.meeting(arriving.signal) ?? []).map { second in
                Chain(
                    first: first, second: second,
                    // The second delivery is the first of its phase after the first one: the delays add up.
                    delayFrames: links[first].delayFrames + links[second].delayFrames,
                    directDelayFrames: delay(from: links[first].phase, to: phase(links[second].destination)))
            }
        }
    }
}
