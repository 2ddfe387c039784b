import ArgumentParser

struct Step: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run some frames of a paused simulation; returns when they are complete.",
        usage: "hermes step [NAME] [COUNT]",
        discussion: """
            One word of digits alone is COUNT.
            Examples:
              hermes step
              hermes step 100
              hermes step flight 100
            """)

    @Argument(
        help: ArgumentHelp(
            "The simulation, where several run, and how many frames; default 1.", valueName: "name-count"),
        transform: textArgument)
    var words: [String] = []

    func validate() throws { _ = try parsed() }

    private func parsed() throws -> (name: String?, count: UInt64) {
        guard words.count <= 2 else { throw ValidationError("step takes [NAME] [COUNT], not \(words.count) words") }
        var named = NamedWords(words)
        if words.count == 1, let count = named.name, count.allSatisfy(\.isNumber) {
            named = NamedWords(name: nil, rest: words)
        }
        guard let text = named.rest.first else { return (named.name, 1) }
        guard let count = UInt64(text), count > 0, named.rest.count == 1 else {
            throw ValidationError("COUNT is a whole number from 1 up, not '\(text)'")
        }
        return (named.name, count)
    }

    func run() throws {
        let (name, count) = try parsed()
        try ControlCommand.give(ControlRequest(command: .step, count: count), to: name, done: "stepped to")
    }
}
