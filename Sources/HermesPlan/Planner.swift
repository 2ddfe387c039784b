import HermesModel
import HermesSystem

/// What one module said of itself before the segment exists.
public struct Announcement: Sendable {
    /// True for a script that runs beside the frames.
    public var isFree: Bool
    public var signals: [AnnouncedSignal]

    public init(isFree: Bool = false, signals: [AnnouncedSignal]) {
        self.isFree = isFree
        self.signals = signals
    }
}

/// Configuration and announcements to a plan: a pure function.
///
/// 1. Register each module's signals: announced ones in their order, then those only listed.
/// 2. Expand bulk wires and look up every wire's two signals.
/// 3. Group the wires by the phase of their source, and pack each group into runs, copies and conversions.
public enum Planner {
    /// - Parameter announcements: one for each module, in file order.
    /// - Throws: `ConfigurationError` with everything found, in file order.
    public static func plan(
        _ simulation: Simulation, announcements: [Announcement]
    ) throws -> (plan: Plan, warnings: [Diagnostic]) {
        var diagnostics: [Diagnostic] = []
        var (registry, modules) = register(simulation, announcements, &diagnostics)
        var wires = WireResolver(simulation: simulation, registry: registry)
        let resolved = wires.resolve()
        diagnostics += wires.diagnostics
        let errors = diagnostics.filter { $0.severity == .error }
        guard errors.isEmpty else { throw ConfigurationError(errors.sorted { $0.location < $1.location }) }

        for wire in resolved {
            registry.update(wire.destination) {
                $0.isWired = true
                $0.isWritable = false
            }
        }
        let places = Dictionary(
            simulation.modules.enumerated().map { ($1.name.bytes, $0) }, uniquingKeysWith: { first, _ in first })
        let phases = simulation.execution.schedule.map { names in names.compactMap { places[$0.bytes] } }
        for (phase, members) in phases.enumerated() {
            for member in members { modules[member].phase = phase }
        }
        var groups = Array(repeating: [ResolvedWire](), count: phases.count)
        for wire in resolved { groups[modules[registry.signals[wire.source].module].phase].append(wire) }
        let placed = Set(simulation.modules.map(\.host))
        let hosts: [String?] = [nil] + simulation.hosts.map(\.name).filter(placed.contains)
        let hostPlaces = Dictionary(hosts.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        for index in modules.indices { modules[index].host = hostPlaces[simulation.modules[index].host] ?? 0 }
        var plan = Plan(
            simulationName: simulation.name, rateHz: simulation.execution.rateHz, modules: modules, phases: phases,
            registry: registry,
            deliveries: (groups + [resolved]).map { Delivery(wires: $0, signals: registry.signals) })
        plan.wires = resolved
        plan.hosts = hosts
        return (plan, diagnostics)
    }

    private static func register(
        _ simulation: Simulation, _ announcements: [Announcement], _ diagnostics: inout [Diagnostic]
    ) -> (SignalRegistry, [PlannedModule]) {
        var registry = SignalRegistry()
        var modules: [PlannedModule] = []
        var nearNames = NearNames()
        for (index, (module, announcement)) in zip(simulation.modules, announcements).enumerated() {
            let first = registry.signals.count
            var settings = Dictionary(
                module.signals.map { ($0.name.bytes, $0) }, uniquingKeysWith: { first, _ in first })
            for announced in announcement.signals {
                let signal = merge(
                    announced, settings.removeValue(forKey: announced.name.bytes), of: module, index, &diagnostics)
                registry.register(signal)
            }
            let mayListMore = module.kind == .script || announcement.signals.isEmpty
            for listed in module.signals where settings[listed.name.bytes] != nil {
                if mayListMore {
                    let own = AnnouncedSignal(name: listed.name, isNamedAccess: true)
                    registry.register(merge(own, listed, of: module, index, &diagnostics))
                } else {
                    let near = nearNames.didYouMean(listed.name, among: announcement.signals.lazy.map(\.name))
                    diagnostics.append(
                        Diagnostic(
                            .error, at: listed.location,
                            "module \(module.name) announces no signal '\(listed.name)'\(near)"))
                }
            }
            let base = simulation.execution.rateHz
            let divisor = module.rateHz.map { StepInterval.frames(rateHz: $0, baseRateHz: base) } ?? 1
            if divisor == nil {
                diagnostics.append(
                    Diagnostic(
                        .error, at: module.rateLocation ?? module.location,
                        "rate_hz \(SignalValue.text(module.rateHz ?? 0)) of module \(module.name) does not divide "
                            + "the base rate \(SignalValue.text(base))"))
            }
            if announcement.isFree, let policy = module.onError, policy != .stop {
                diagnostics.append(
                    Diagnostic(
                        .error, at: module.onErrorLocation ?? module.location,
                        "script \(module.name) is a free script, which runs beside the frames: `on_module_error: "
                            + "\(policy.rawValue)` can't be kept; remove it"))
            }
            if announcement.isFree, let cpus = module.cpus {
                diagnostics.append(
                    Diagnostic(
                        .error, at: cpus.location,
                        "script \(module.name) is a free script, which runs beside the frames: `cpus` can't be kept; remove it"
                    ))
            }
            modules.append(
                PlannedModule(
                    name: module.name, isInproc: module.kind == .inproc, isFree: announcement.isFree, phase: 0,
                    divisor: divisor ?? 1, dt: Double(divisor ?? 1) / base, firstSignal: first,
                    signalCount: registry.signals.count - first))
        }
        return (registry, modules)
    }

    private static func merge(
        _ announced: AnnouncedSignal, _ settings: SignalSettings?, of module: Module, _ index: Int,
        _ diagnostics: inout [Diagnostic]
    ) -> Signal {
        if let type = settings?.type, type != announced.type, !announced.isNamedAccess, let settings {
            diagnostics.append(
                Diagnostic(
                    .error, at: settings.typeLocation ?? settings.location,
                    "module \(module.name) announces '\(announced.name)' as \(announced.type.word); "
                        + "a type can be overridden only for modules that use get_signal and set_signal"))
        }
        let isInput = announced.direction == .input || announced.direction == .both
        return Signal(
            name: SignalName(module: module.name, signal: announced.name), module: index,
            type: settings?.type ?? announced.type,
            isWritable: settings?.writable ?? (announced.writable || isInput),
            isPublished: settings?.published ?? announced.published, isWired: false, direction: announced.direction,
            unit: settings?.unit ?? announced.unit, summary: announced.summary)
    }
}
