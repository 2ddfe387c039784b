import ArgumentParser
import HermesCoordinator
import HermesModel
import HermesSystem

struct Push: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy modules and their files to the hosts of a configuration, where they differ.",
        discussion: """
            For each module on a host: its program or script, `config:` and what `files:` names, from the configuration's \
            folder to the same place beneath the node's module root; its `working_dir:` is made. Nothing there is removed. \
            All hosts at once; exit code 2 when something could not be copied.
            Example:
              hermes push sim.yaml --key desk.key
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: ByteString
    @OptionGroup var keyOption: KeyOption

    func run() throws {
        let console = Console()
        let simulation = try ConfigurationLoader.load(config, console)
        let hosts = simulation.hosts.filter { host in simulation.modules.contains { $0.host == host.name } }
        guard !hosts.isEmpty else {
            return console.note("\(config) has no module on another host; there is nothing to push")
        }
        let calls = try HostCalls(hosts, keyFile: keyOption.key)
        let tallies = calls.each { call in
            let tally = PushTally()
            let name = call.host.name
            let push = FilePush(call: call, files: HostFiles(of: name, in: simulation)) { entry in
                tally.count(entry)
                console.pushed(entry, to: name)
            }
            try push.run()
            return tally
        }
        calls.close()
        for (host, tally) in zip(hosts, tallies) {
            switch tally {
            case .success(let tally): console.note("host \(host.name): \(tally.text)")
            case .failure(let trouble): console.error("host \(host.name): \(trouble.cause)")
            }
        }
        let isWhole = tallies.allSatisfy { if case .success(let tally) = $0 { !tally.hasFailed } else { false } }
        if !isWhole { throw ExitCode(2) }
    }
}
