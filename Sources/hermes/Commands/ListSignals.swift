import ArgumentParser
import Glibc
import HermesModel
import HermesSystem

struct ListSignals: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List signals with type, unit, flags and description.",
        usage: "hermes list-signals [NAME|CONFIG] [PATTERN...] [--format FORMAT]",
        discussion: """
            Of a running simulation, or of a configuration: its modules are started only to say what they have, and ended again.
            A * in a pattern stands for any text.
            Examples:
              hermes list-signals
              hermes list-signals flight 'vehicle.*'
              hermes list-signals sim.yaml --format json
            """)

    @Argument(
        help: ArgumentHelp(
            "The simulation or a YAML file, and MODULE.SIGNAL names or patterns.", valueName: "source-patterns"))
    var words: [ByteString] = []
    @OptionGroup var meeting: MeetingOptions
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func validate() throws {
        let texts = try (isConfiguration ? words.dropFirst() : words[...]).map { try textArgument($0.encodedText) }
        try checkSignals(isConfiguration ? texts : NamedWords(texts).rest)
    }

    private var isConfiguration: Bool {
        guard let first = words.first else { return false }
        if first.hasSuffix(".yaml") || first.hasSuffix(".yml") { return true }
        if let name = first.text, isValidName(name), RunningSimulation.isRunning(name) { return false }
        var status = stat()
        return stat(first.cString, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    func run() throws {
        let console = Console()
        guard isConfiguration else {
            let words = NamedWords(words.compactMap(\.text))
            let live = try LiveSignals.of(RunningSimulation.find(words.name))
            let signals = try words.rest.isEmpty ? live.all : live.signals(matching: words.rest)
            return show(live.name, signals.map(\.listing), console)
        }
        let simulation = try ConfigurationLoader.load(words[0], console)
        let announced = try AnnouncedSignals.read(simulation, meeting: meeting.meeting, console)
        let signals = try choose(words.dropFirst().compactMap(\.text), of: announced.signals)
        show(simulation.name, signals, console)
        // The list helps to mend the wiring, so it comes first.
        if let error = announced.error { throw error }
    }

    private func choose(_ wanted: [String], of signals: [SignalListing]) throws -> [SignalListing] {
        if wanted.isEmpty { return signals }
        let patterns = wanted.compactMap { text in NamePattern(text).map { (text, $0) } }
        let names = Set(wanted.filter { NamePattern($0) == nil }.map(\.bytes))
        var unmatched = Set(wanted.map(\.bytes))
        let chosen = signals.filter { signal in
            var isChosen = names.contains(signal.name.bytes)
            if isChosen { unmatched.remove(signal.name.bytes) }
            for (text, pattern) in patterns where pattern.matches(signal.name) {
                unmatched.remove(text.bytes)
                isChosen = true
            }
            return isChosen
        }
        if let nothing = wanted.first(where: { unmatched.contains($0.bytes) }) {
            throw RunningSimulation.failure("no signal matches '\(nothing)'")
        }
        return chosen
    }

    private func show(_ name: String, _ signals: [SignalListing], _ console: Console) {
        let signals = signals.sorted()
        if format == .text { return console.result(SignalListing.text(signals)) }
        let object: JSONValue = ["name": .text(name), "signals": .list(signals.map(\.json))]
        console.result(object.description)
    }
}
