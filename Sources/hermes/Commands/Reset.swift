import ArgumentParser

struct Reset: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go back to frame 0: every module resets, a new epoch begins.",
        discussion: """
            Returns when frame 0 is there. A paused simulation stays paused.
            Example:
              hermes reset
            """)

    @Argument(help: "The simulation; may be left out when one runs.", transform: textArgument)
    var name: String?

    func run() throws {
        try ControlCommand.give(ControlRequest(command: .reset), to: name, done: "reset to")
    }
}
