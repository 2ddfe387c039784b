import ArgumentParser
import HermesModel

struct Mode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Change how a running simulation's frames follow each other.",
        usage: "hermes mode [NAME] MODE",
        discussion: """
            afap: as fast as possible. realtime: one simulated second a second. single_frame: pauses; each frame by `hermes step`.
            Examples:
              hermes mode realtime
              hermes mode flight afap
            """)

    @Argument(
        help: ArgumentHelp(
            "The simulation, where several run, and afap, realtime or single_frame.", valueName: "name-mode"),
        transform: textArgument)
    var words: [String]

    func validate() throws {
        guard words.count <= 2 else { throw ValidationError("mode takes [NAME] MODE, not \(words.count) words") }
        guard mode != nil else {
            throw ValidationError("MODE is afap, realtime or single_frame, not '\(words.last ?? "")'")
        }
    }

    private var mode: Execution.Mode? { words.last.flatMap { Execution.Mode(rawValue: $0) } }

    func run() throws {
        let name = words.count == 2 ? words[0] : nil
        try ControlCommand.give(ControlRequest(command: .mode, mode: mode), to: name, done: "\(mode!.rawValue) from")
    }
}
