import ArgumentParser

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at this machine: what would keep simulations from running, or from running well.",
        discussion: """
            Each finding comes with its cure. Exit code 2 only when something is broken.
            Examples:
              hermes doctor
              hermes doctor --format json
            """)

    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func run() throws {
        let findings = Checkup.findings()
        Console().result(format == .json ? Finding.json(findings).description : Finding.text(findings))
        if findings.contains(where: { $0.verdict == .broken }) { throw ExitCode(2) }
    }
}
