import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem

/// A plan for people and for programs.
struct PlanPrintout {
    var simulation: Simulation
    var outline: PlanOutline

    var text: String {
        var parts = [[headline, realtimeLine].compactMap { $0 }.joined(separator: "\n"), moduleTable]
        if !outline.links.isEmpty { parts.append(wireTable) }
        if !outline.mirrors.isEmpty { parts.append(mirrorTable) }
        return parts.joined(separator: "\n\n")
    }

    /// Each chain that costs frames, where its second wire stands.
    var chainWarnings: [Diagnostic] {
        outline.chains.filter { $0.delayFrames > $0.directDelayFrames }.map { chain in
            let first = outline.links[chain.first]
            let second = outline.links[chain.second]
            return Diagnostic(
                .warning, at: simulation.wires[chain.second].sourceLocation,
                "a chain: \(second.source) passes on what \(first.source) delivered to it, so \(second.destination) gets it "
                    + "\(Self.delay(chain.delayFrames)); wired from \(first.source) itself, \(Self.delay(chain.directDelayFrames))"
            )
        }
    }

    private var execution: Execution { simulation.execution }

    private var frames: UInt64? { execution.lastFrame }

    private var headline: String {
        let end = frames.map { "\($0) frames (\(SignalValue.text(execution.endTime!)) s)" } ?? "until stopped"
        return "\(simulation.name): \(execution.mode.rawValue), \(SignalValue.text(execution.rateHz)) Hz "
            + "(dt \(SignalValue.text(1 / execution.rateHz)) s), \(end)"
    }

    /// How a realtime run keeps its time; nil in other modes.
    private var realtimeLine: String? {
        guard execution.mode == .realtime else { return nil }
        let realtime = execution.realtime
        var parts = ["on overrun \(realtime.onOverrun.rawValue)", "grace \(SignalValue.text(realtime.graceSeconds)) s"]
        if let priority = realtime.priority, let ofModules = realtime.modulePriority {
            parts.append("SCHED_FIFO \(priority), modules \(ofModules)")
        }
        var cpus: [(String, CPUList?)] = [
            ("coordinator", realtime.coordinatorCPUs), ("node", realtime.nodeCPUs), ("modules", realtime.moduleCPUs),
        ]
        cpus += simulation.hosts.map { ("host \($0.name)", $0.cpus) }
        cpus += simulation.modules.map { ("module \($0.name)", $0.cpus) }
        for case (let who, let cpus?) in cpus { parts.append("\(who) on CPU \(CPUList.text(cpus.numbers))") }
        if realtime.locksMemory { parts.append("memory locked") }
        if realtime.isRequired { parts.append("all of it required") }
        return "realtime: " + parts.joined(separator: "; ")
    }

    private var moduleTable: String {
        let byName = Dictionary(outline.modules.map { ($0.name.bytes, $0) }, uniquingKeysWith: { first, _ in first })
        let rows = outline.phases.enumerated().flatMap { phase, names in
            names.compactMap { byName[$0.bytes] }.map { module in
                [
                    "\(phase + 1)", module.name, Self.host(module.host), module.kind.rawValue,
                    module.divisor == 1 ? "every frame" : "every \(module.divisor) frames",
                    "\(SignalValue.text(module.dt)) s",
                ]
            }
        }
        return Table(header: ["PHASE", "MODULE", "HOST", "TYPE", "STEPS", "DT"], rows: rows).text
    }

    private var wireTable: String {
        let showsHosts = outline.links.contains { $0.crossesHosts }
        let rows = outline.links.map { link in
            let hosts = link.crossesHosts ? "\(Self.host(link.fromHost)) -> \(Self.host(link.toHost))" : ""
            return [
                "\(link.source)", "-> \(link.destination)", Self.delay(link.delayFrames),
                Self.conversion(gain: link.gain, offset: link.offset), hosts,
            ]
        }
        return Table(header: ["WIRE", "", "ARRIVES", "SCALED", showsHosts ? "CROSSES" : ""], rows: rows).text
    }

    private var mirrorTable: String {
        let rows = outline.mirrors.map { mirror in
            let same = mirror.links.filter { outline.links[$0].delayFrames == 0 }.count
            return [
                "\(Self.host(mirror.from)) -> \(Self.host(mirror.to))", "\(mirror.phase + 1)", "\(mirror.links.count)",
                "\(same)",
            ]
        }
        return Table(header: ["MIRROR", "AFTER PHASE", "WIRES", "FOR THE SAME FRAME"], rows: rows).text
    }

    private static func host(_ name: String?) -> String { name ?? "desk" }

    private static func delay(_ frames: Int) -> String {
        switch frames {
        case 0: "in the same frame"
        case 1: "in the next frame"
        default: "\(frames) frames later"
        }
    }

    private static func conversion(gain: Double, offset: Double) -> String {
        var text = gain == 1 ? "" : "* \(SignalValue.text(gain))"
        if offset != 0 { text += (text.isEmpty ? "" : " ") + "+ \(SignalValue.text(offset))" }
        return text
    }
}

// MARK: JSON

extension PlanPrintout {
    var json: JSONValue {
        let cpus = moduleCPUs
        return [
            "name": .text(simulation.name), "mode": .text(execution.mode.rawValue),
            "rate_hz": .double(execution.rateHz), "dt": .double(1 / execution.rateHz),
            "end_time": execution.endTime.map { .double($0) } ?? .null, "frames": frames.map { .integer($0) } ?? .null,
            "realtime": execution.mode == .realtime ? realtimeJSON : .null,
            "phases": .list(outline.phases.map { .list($0.map { .text($0) }) }),
            "modules": .list(outline.modules.map { json($0, cpus: cpus[$0.name.bytes]) }),
            "wires": .list(outline.links.map(json)),
            "mirrors": .list(outline.mirrors.map(json)), "chains": .list(outline.chains.map(json)),
        ]
    }

    private var realtimeJSON: JSONValue {
        let realtime = execution.realtime
        return [
            "on_overrun": .text(realtime.onOverrun.rawValue), "grace_s": .double(realtime.graceSeconds),
            "priority": Self.number(realtime.priority), "module_priority": Self.number(realtime.modulePriority),
            "coordinator_cpus": Self.cpus(realtime.coordinatorCPUs?.numbers),
            "lock_memory": .bool(realtime.locksMemory), "required": .bool(realtime.isRequired),
        ]
    }

    /// Of each module as it will be, wherever that was said; empty in other modes.
    private var moduleCPUs: [ByteString: [Int]] {
        guard execution.mode == .realtime else { return [:] }
        let ofHosts = Dictionary(simulation.hosts.map { ($0.name, $0.cpus) }, uniquingKeysWith: { first, _ in first })
        var found: [ByteString: [Int]] = [:]
        for module in simulation.modules {
            let own = module.host.flatMap { ofHosts[$0] ?? nil }
            found[module.name.bytes] =
                RealtimeOrder.wish(of: module, hostCPUs: own, realtime: execution.realtime).cpus
        }
        return found
    }

    private static func number(_ value: Int?) -> JSONValue { value.map { .integer(UInt64($0)) } ?? .null }

    private static func cpus(_ numbers: [Int]?) -> JSONValue {
        numbers.map { .list($0.map { .integer(UInt64($0)) }) } ?? .null
    }

    private func json(_ module: PlanOutline.Member, cpus: [Int]?) -> JSONValue {
        [
            "name": .text(module.name), "type": .text(module.kind.rawValue), "host": .text(Self.host(module.host)),
            "phase": .integer(module.phase + 1), "divisor": .integer(module.divisor),
            "rate_hz": .double(module.rateHz), "dt": .double(module.dt), "cpus": Self.cpus(cpus),
        ]
    }

    private func json(_ link: PlanOutline.Link) -> JSONValue {
        [
            "src": .text("\(link.source)"), "dst": .text("\(link.destination)"), "gain": .double(link.gain),
            "offset": .double(link.offset), "phase": .integer(link.phase + 1),
            "delay_frames": .integer(link.delayFrames), "src_host": .text(Self.host(link.fromHost)),
            "dst_host": .text(Self.host(link.toHost)), "crosses_hosts": .bool(link.crossesHosts),
        ]
    }

    private func json(_ mirror: PlanOutline.Mirror) -> JSONValue {
        [
            "from": .text(Self.host(mirror.from)), "to": .text(Self.host(mirror.to)),
            "phase": .integer(mirror.phase + 1),
            "wires": .list(
                mirror.links.map {
                    ["src": .text("\(outline.links[$0].source)"), "dst": .text("\(outline.links[$0].destination)")]
                }),
        ]
    }

    private func json(_ chain: PlanOutline.Chain) -> JSONValue {
        let first = outline.links[chain.first]
        let second = outline.links[chain.second]
        return [
            "src": .text("\(first.source)"), "via": .text("\(second.source)"), "dst": .text("\(second.destination)"),
            "delay_frames": .integer(chain.delayFrames), "direct_delay_frames": .integer(chain.directDelayFrames),
        ]
    }
}
