import ArgumentParser

@main
struct Hermes: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hermes",
        abstract: "Runs one simulation as many module processes, in lock-step frames.",
        discussion: """
            A first run:  hermes run Examples/basic_sim.yaml
            Exit codes:   0 completed, 1 configuration invalid, 2 simulation failed, 64 wrong usage, 130 interrupted.
            """,
        version: hermesVersion,
        subcommands: [Run.self, Validate.self]
    )
}

let hermesVersion = "0.2.0"
