import ArgumentParser
import HermesModel

struct Get: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print signals of a running simulation, all of one frame.",
        usage: "hermes get [NAME] SIGNAL... [--format FORMAT]",
        discussion: """
            One signal prints its value, several print `name=value` lines. A * in a signal stands for any text.
            Examples:
              hermes get vehicle.position
              hermes get flight vehicle.position vehicle.velocity --format json
              hermes get 'vehicle.*'
            """)

    @Argument(
        help: ArgumentHelp(
            "The simulation, where several run, and MODULE.SIGNAL names or patterns.", valueName: "name-signals"),
        transform: textArgument)
    var words: [String]
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func validate() throws {
        let wanted = NamedWords(words).rest
        guard !wanted.isEmpty else { throw ValidationError("say which signals: MODULE.SIGNAL") }
        try checkSignals(wanted)
    }

    func run() throws {
        let words = NamedWords(words)
        let live = try LiveSignals.of(RunningSimulation.find(words.name))
        let signals = try live.signals(matching: words.rest)
        let values = try live.sample(signals)
        let sample = SignalSample(
            simulation: live.name, frame: values.frame, time: values.time,
            values: zip(signals, values.bits).map { ($0.name, $1, $0.type) })
        let isOne = words.rest.count == 1 && NamePattern(words.rest[0]) == nil
        Console().result(format == .json ? sample.json.description : isOne ? sample.onlyValue : sample.text)
    }
}

/// - Throws: `ValidationError` for a word that can't be a signal.
func checkSignals(_ words: [String]) throws {
    for word in words where SignalName(word) == nil && NamePattern(word) == nil {
        throw ValidationError("a signal is MODULE.SIGNAL, not '\(word)'")
    }
}
