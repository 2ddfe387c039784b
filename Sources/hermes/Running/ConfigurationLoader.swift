import HermesConfiguration
import HermesModel
import HermesSystem

enum ConfigurationLoader {
    /// Reads a configuration; warnings are shown.
    /// - Throws: `ConfigurationError`.
    static func load(_ path: ByteString, _ console: Console) throws -> Simulation {
        let (simulation, warnings) = try ConfigurationReader.read(path: path)
        for warning in warnings { console.diagnostic(warning) }
        if simulation.server.enabled {
            console.warning("`server: enabled: true`: this version has no telemetry server; the run goes on without it")
        }
        return simulation
    }
}
