import ArgumentParser
import HermesModel
import HermesSystem

struct Nodes: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the hosts of a configuration: who can be reached, and what they are.",
        discussion: """
            All hosts are asked at once. Exit code 2 when one can't be reached; its line says why. What may change the last \
            bits of results (architecture, libc, CPU features) is told where a host differs from this machine.
            Examples:
              hermes nodes sim.yaml
              hermes nodes sim.yaml --key desk.key --format json
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: ByteString
    @OptionGroup var keyOption: KeyOption
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func run() throws {
        let console = Console()
        let hosts = try ConfigurationLoader.load(config, console).hosts
        let calls = try HostCalls(hosts, keyFile: keyOption.key)
        let reports = HostReport.all(hosts, calls)
        calls.close()
        if format == .json {
            console.result(HostReport.json(reports).description)
        } else if hosts.isEmpty {
            console.note("\(config) has no `hosts:`; everything runs here")
        } else {
            console.result(HostReport.text(reports))
        }
        if reports.contains(where: { !$0.isReachable }) { throw ExitCode(2) }
    }
}
