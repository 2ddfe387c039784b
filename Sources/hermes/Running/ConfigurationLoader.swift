import HermesConfiguration
import HermesModel

enum ConfigurationLoader {
    /// Reads a configuration that runs on this host; warnings are shown.
    /// - Throws: `ConfigurationError`.
    static func load(_ path: String, _ console: Console) throws -> Simulation {
        let (simulation, warnings) = try ConfigurationReader.read(path: path)
        for warning in warnings { console.diagnostic(warning) }
        if simulation.server.enabled {
            console.warning("`server: enabled: true`: this version has no telemetry server; the run goes on without it")
        }
        let elsewhere = simulation.modules.filter { $0.host != nil }
        guard elsewhere.isEmpty else {
            throw ConfigurationError(
                elsewhere.map {
                    Diagnostic(
                        .error, at: $0.location,
                        "module \($0.name) is placed on host \($0.host!), but this version runs every module on the desk; "
                            + "remove its `host:`")
                })
        }
        return simulation
    }
}
