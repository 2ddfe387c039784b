import ArgumentParser

struct Stop: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End a simulation; returns when everything of it is gone.",
        discussion: """
            The frame under way is completed, modules terminate in order, the recording is closed.
            Example:
              hermes stop flight
            """)

    @Argument(help: "The simulation; may be left out when one runs.", transform: textArgument)
    var name: String?

    func run() throws {
        try ControlCommand.give(ControlRequest(command: .stop), to: name, done: "stopped at")
    }
}
