import ArgumentParser
import HermesConfiguration
import HermesSystem

struct Validate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration without starting anything.",
        discussion: """
            Everything wrong is found in one pass and printed as file:line:column. Exit code 1 when there is an error.
            Example:
              hermes validate sim.yaml
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: ByteString

    func run() throws {
        let console = Console()
        let (simulation, warnings) = try ConfigurationReader.read(path: config)
        for warning in warnings { console.diagnostic(warning) }
        console.result("\(config): valid: \(simulation.modules.count) modules, \(simulation.wires.count) wires")
    }
}
