import ArgumentParser
import HermesConfiguration
import HermesModel
import HermesPlan
import HermesSystem

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what each frame will do, without starting anything.",
        discussion: """
            Phases, placement, rates, each wire's delay and what hosts send each other. A bulk wire shows as its pattern.
            Examples:
              hermes plan sim.yaml
              hermes plan sim.yaml --format json
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: ByteString
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func run() throws {
        let console = Console()
        let (simulation, warnings) = try ConfigurationReader.read(path: config)
        let printout = PlanPrintout(simulation: simulation, outline: PlanOutline(simulation))
        for warning in warnings + printout.chainWarnings { console.diagnostic(warning) }
        console.result(format == .json ? printout.json.description : printout.text)
    }
}
