import ArgumentParser
import HermesModel
import HermesProtocol
import HermesSystem

struct SetValues: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Set signals of a running simulation, all at one frame edge.",
        usage: "hermes set [NAME] SIGNAL=VALUE...",
        discussion: """
            Returns once the values are queued: the next frame begins with them. When one is refused none is set.
            A value is a number in the signal's type; of a bool true, false, 1 or 0.
            Examples:
              hermes set vehicle.mass=1200
              hermes set flight vehicle.mass=1200 vehicle.engine_on=true
            """)

    @Argument(
        help: ArgumentHelp(
            "The simulation, where several run, and MODULE.SIGNAL=VALUE words.", valueName: "name-values"),
        transform: textArgument)
    var words: [String]

    func validate() throws {
        let texts = NamedWords(words).rest
        guard !texts.isEmpty else { throw ValidationError("say what to set: MODULE.SIGNAL=VALUE") }
        var seen: Set<ByteString> = []
        for text in texts {
            guard let assignment = Assignment(text) else {
                throw ValidationError("set takes MODULE.SIGNAL=VALUE, not '\(text)'")
            }
            guard seen.insert(assignment.signal.bytes).inserted else {
                throw ValidationError("'\(assignment.signal)' is set twice")
            }
        }
    }

    func run() throws {
        let words = NamedWords(words)
        let live = try LiveSignals.of(RunningSimulation.find(words.name))
        try live.set(
            words.rest.compactMap { Assignment($0) }.map { assignment in
                let signal = try live.signal(named: assignment.signal)
                guard let bits = SignalValue.bits(assignment.value, signal.type) else {
                    throw RunningSimulation.failure(
                        "'\(assignment.value)' is no \(signal.type.word) for '\(signal.name)'")
                }
                return (signal, bits)
            })
        if live.isPaused { Console().note("\(live.name) is paused: this takes effect with the next frame") }
    }
}

/// `MODULE.SIGNAL=VALUE`.
struct Assignment {
    var signal: String
    var value: String

    init?(_ text: String) {
        let bytes = text.utf8
        guard let equals = bytes.lastIndex(of: UInt8(ascii: "=")) else { return nil }
        signal = String(decoding: bytes[..<equals], as: UTF8.self)
        value = String(decoding: bytes[bytes.index(after: equals)...], as: UTF8.self)
        guard SignalName(signal) != nil else { return nil }
    }
}
