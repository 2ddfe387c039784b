import ArgumentParser

struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a paused simulation run on.",
        discussion: """
            A simulation in single_frame mode runs on as afap; `hermes mode` chooses another.
            Example:
              hermes resume
            """)

    @Argument(help: "The simulation; may be left out when one runs.", transform: textArgument)
    var name: String?

    func run() throws {
        try ControlCommand.give(ControlRequest(command: .resume), to: name, done: "runs on from")
    }
}
