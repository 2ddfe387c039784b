import HermesModel
import HermesNode

/// The CPUs that a realtime run wants of this machine, against those it has; other hosts look for themselves.
enum DeskCPUs {
    /// - Throws: `ConfigurationError` with each list that names a CPU which is not there.
    static func check(_ simulation: Simulation) throws {
        guard simulation.execution.mode == .realtime else { return }
        let realtime = simulation.execution.realtime
        let ofModules = simulation.modules.filter { $0.host == nil && $0.kind != .inproc }.map {
            $0.cpus ?? realtime.moduleCPUs
        }
        let online = OnlineCPUs.numbers
        let wrong = ([realtime.coordinatorCPUs] + ofModules).compactMap { cpus -> Diagnostic? in
            guard let cpus, let missing = cpus.numbers.first(where: { !online.contains($0) }) else { return nil }
            return Diagnostic(
                .error, at: cpus.location, "there is no CPU \(missing) here; this machine has \(CPUList.text(online))")
        }
        // One list stands for many modules.
        let once = Dictionary(wrong.map { ($0.location, $0) }, uniquingKeysWith: { first, _ in first }).values
        if !once.isEmpty { throw ConfigurationError(once.sorted { $0.location < $1.location }) }
    }
}
