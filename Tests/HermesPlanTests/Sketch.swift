import HermesModel
import HermesPlan

/// A simulation and what its modules announce, in a line each. Modules stand in lines 1, 2..., wires in lines 101, 102...
struct Sketch {
    var modules: [Module] = []
    var announcements: [Announcement] = []
    var wires: [Wire] = []
    /// Nil: one phase with every module.
    var schedule: [[String]]?
    var rateHz = 100.0
    /// Named hosts, in file order.
    var hosts: [String] = []

    mutating func module(
        _ name: String, kind: Module.Kind = .process, host: String? = nil, rateHz: Double? = nil, isFree: Bool = false,
        listed: [SignalSettings] = [], _ announced: AnnouncedSignal...
    ) {
        modules.append(
            Module(
                name: name, kind: kind, program: "/bin/true", host: host, rateHz: rateHz, signals: listed,
                location: SourceLocation(file: "sim.yaml", line: modules.count + 1, column: 3)))
        announcements.append(Announcement(isFree: isFree, signals: announced))
    }

    mutating func wire(_ source: String, _ destination: String, gain: Double = 1, offset: Double = 0) {
        let line = 101 + wires.count
        wires.append(
            Wire(
                source: SignalName(source)!, destination: SignalName(destination)!, gain: gain, offset: offset,
                sourceLocation: SourceLocation(file: "sim.yaml", line: line, column: 10),
                destinationLocation: SourceLocation(file: "sim.yaml", line: line, column: 30)))
    }

    func plan() throws -> (plan: Plan, warnings: [Diagnostic]) {
        let execution = Execution(rateHz: rateHz, schedule: schedule ?? [modules.map(\.name)])
        let simulation = Simulation(
            name: "sketch", baseDirectory: "/",
            hosts: hosts.map {
                Host(name: $0, endpoint: "tcp://127.0.0.1:1", location: SourceLocation(file: "", line: 0, column: 0))
            }, modules: modules, wires: wires, execution: execution)
        return try Planner.plan(simulation, announcements: announcements)
    }

    /// What is wrong with it, as printed.
    func errors() -> [String] {
        do {
            _ = try plan()
            return []
        } catch {
            return (error as? ConfigurationError)?.diagnostics.map(\.description) ?? ["\(error)"]
        }
    }
}

extension SignalSettings {
    /// Listed in line 50 + its place; its type one column further on.
    static func listed(
        _ name: String, line: Int = 50, type: SignalType? = nil, unit: String? = nil, writable: Bool? = nil,
        published: Bool? = nil
    ) -> Self {
        SignalSettings(
            name: name, type: type, unit: unit, writable: writable, published: published,
            location: SourceLocation(file: "sim.yaml", line: line, column: 9),
            typeLocation: type.map { _ in SourceLocation(file: "sim.yaml", line: line, column: 20) })
    }
}
