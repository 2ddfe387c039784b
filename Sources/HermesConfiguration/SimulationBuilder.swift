import HermesModel
import HermesSystem

/// A draft without errors to the simulation it describes, defaults filled in.
struct SimulationBuilder {
    let findings: Findings
    let paths: DeskPaths

    func build(_ draft: SimulationDraft) -> Simulation {
        var simulation = Simulation(baseDirectory: paths.baseDirectory)
        if let name = draft.name { simulation.name = name.value }
        simulation.hosts = draft.hosts.map(host)
        simulation.modules = draft.modules.map(module)
        simulation.wires = draft.wires
        simulation.execution = execution(draft.execution, simulation.modules.map(\.name))
        simulation.server = server(draft.server)
        return simulation
    }

    private func host(_ draft: HostDraft) -> Host {
        Host(
            name: draft.name.value, endpoint: draft.endpoint?.value ?? "", key: draft.key?.value,
            mirror: draft.mirror?.value, cpus: draft.cpus.map(cpus),
            location: findings.location(draft.name.mark))
    }

    private func module(_ draft: ModuleDraft) -> Module {
        func resolved(_ path: Located<String>?) -> ByteString? {
            path.map { draft.host == nil ? paths.absolute(ByteString($0.value)) : ByteString($0.value) }
        }
        return Module(
            name: draft.name.value, kind: draft.kind ?? .process, program: resolved(draft.program) ?? "",
            arguments: draft.arguments, environment: draft.environment.map { ($0.name.value, $0.value) },
            workingDirectory: resolved(draft.workingDirectory), configuration: resolved(draft.configuration),
            files: draft.files.compactMap(resolved), host: draft.host?.value, rateHz: draft.rateHz?.value,
            startTimeoutSeconds: draft.startTimeoutSeconds, stepTimeoutSeconds: draft.stepTimeoutSeconds,
            onError: draft.onError?.value,
            cpus: draft.cpus.map(cpus), signals: draft.signals,
            location: findings.location(draft.name.mark),
            rateLocation: draft.rateHz.map { findings.location($0.mark) },
            onErrorLocation: draft.onError.map { findings.location($0.mark) })
    }

    private func execution(_ draft: ExecutionDraft, _ modules: [String]) -> Execution {
        var execution = Execution()
        if let mode = draft.mode { execution.mode = mode }
        if let rate = draft.rateHz { execution.rateHz = rate.value }
        execution.endTime = draft.endTime?.value
        execution.schedule = draft.schedule.map { $0.value.map { $0.map(\.value) } } ?? [modules]
        execution.isDefaultSchedule = draft.schedule == nil
        if let timeout = draft.stepTimeoutSeconds { execution.stepTimeoutSeconds = timeout }
        if let liveness = draft.livenessSeconds { execution.livenessSeconds = liveness.value }
        if let policy = draft.onModuleError { execution.onModuleError = policy.value }
        if let limit = draft.restartLimit { execution.restartLimit = limit.value }
        if let mirrors = draft.mirrors { execution.mirrors = mirrors }
        execution.realtime = realtime(draft.realtime)
        return execution
    }

    private func realtime(_ draft: RealtimeDraft) -> Realtime {
        var realtime = Realtime()
        if let policy = draft.onOverrun { realtime.onOverrun = policy }
        if let grace = draft.graceSeconds { realtime.graceSeconds = grace }
        realtime.priority = draft.priority?.value
        realtime.coordinatorCPUs = draft.coordinatorCPUs.map(cpus)
        realtime.nodeCPUs = draft.nodeCPUs.map(cpus)
        realtime.moduleCPUs = draft.moduleCPUs.map(cpus)
        if let locks = draft.locksMemory { realtime.locksMemory = locks }
        if let required = draft.isRequired { realtime.isRequired = required }
        return realtime
    }

    private func cpus(_ draft: Located<[Int]>) -> CPUList {
        CPUList(draft.value, location: findings.location(draft.mark))
    }

    private func server(_ draft: ServerDraft) -> Server {
        var server = Server()
        if let enabled = draft.enabled { server.enabled = enabled }
        if let host = draft.host { server.host = host.value }
        if let port = draft.port { server.port = port.value }
        if let rate = draft.telemetryHz { server.telemetryHz = rate }
        return server
    }
}
