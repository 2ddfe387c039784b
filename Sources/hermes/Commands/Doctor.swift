import ArgumentParser
import Glibc
import HermesModel
import HermesNode
import HermesProtocol
import HermesSystem
import HermesSystem

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at this machine, and at hosts: what would keep simulations from running, or from running well.",
        discussion: """
            Each finding comes with its cure. With CONFIG every node of the configuration looks at its own machine too, all \
            at once. Exit code 2 only when something is broken, or a host can't be reached.
            Examples:
              hermes doctor
              hermes doctor sim.yaml --key desk.key
              hermes doctor --format json
            """)

    @Argument(help: "The simulation's YAML file, for its hosts.")
    var config: ByteString?
    @OptionGroup var keyOption: KeyOption
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func validate() throws {
        if keyOption.key != nil && config == nil { throw ValidationError("--key is for the hosts of a CONFIG") }
    }

    /// Ctrl-C ends this command at once, and with it an interpreter that hangs.
    private func endWhatWasStartedOnSignals() throws {
        let signals = try receiveSignals()
        try startDetachedThread("signals") {
            var arrived = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            while poll(&arrived, 1, -1) <= 0 {}
            Probe.endAll()
            _exit(130)
        }
    }

    func run() throws {
        let console = Console()
        try endWhatWasStartedOnSignals()
        let hosts = try config.map { try ConfigurationLoader.load($0, console).hosts } ?? []
        let checkup = MachineCheckup(
            here: Checkup.findings(program: "hermes") + DeskChecks.findings(),
            hosts: try HostCheckup.all(hosts, keyFile: keyOption.key))
        console.result(format == .json ? checkup.json.description : checkup.text)
        if !checkup.isHealthy { throw ExitCode(2) }
    }
}
