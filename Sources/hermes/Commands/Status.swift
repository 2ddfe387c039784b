import ArgumentParser
import HermesNode

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what runs here: state, mode, frame, time and modules.",
        discussion: """
            Without NAME a line for each simulation of this user.
            Examples:
              hermes status
              hermes status flight --format json
            """)

    @Argument(help: "The simulation; default: all.", transform: textArgument)
    var name: String?
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func run() throws {
        let console = Console()
        if let name {
            let status = try ControlClient(name: RunningSimulation.find(name)).status()
            return console.result(format == .json ? status.json.description : status.text)
        }
        var all: [RunStatus] = []
        for name in RunningSimulation.commanded() {
            do {
                all.append(try ControlClient(name: name).status())
            } catch {
                // One that ended since is no news.
                if RunningSimulation.isRunning(name) { console.warning("\(error)") }
            }
        }
        if format == .json { return console.result(JSONValue.list(all.map(\.json)).description) }
        if all.isEmpty { console.note("no simulation runs here") } else { console.result(RunStatus.text(all)) }
    }
}
