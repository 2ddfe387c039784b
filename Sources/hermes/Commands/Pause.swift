import ArgumentParser

struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Complete the frame under way and wait there.",
        discussion: """
            It goes on with `hermes resume`, or frame by frame with `hermes step`.
            Example:
              hermes pause
            """)

    @Argument(help: "The simulation; may be left out when one runs.", transform: textArgument)
    var name: String?

    func run() throws {
        try ControlCommand.give(ControlRequest(command: .pause), to: name, done: "paused at")
    }
}
