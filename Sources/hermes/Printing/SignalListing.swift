import HermesModel
import HermesPlan

/// A signal as `hermes list-signals` shows it.
struct SignalListing: Comparable, Codable, Sendable {
    var name: String
    var type: SignalType
    var unit: String
    var isWritable, isPublished, isWired: Bool
    var summary: String

    static func < (left: Self, right: Self) -> Bool { left.name.utf8.lexicographicallyPrecedes(right.name.utf8) }

    static func text(_ signals: [SignalListing]) -> String {
        Table(
            header: ["SIGNAL", "TYPE", "UNIT", "FLAGS", "DESCRIPTION"],
            rows: signals.map { [$0.name, $0.type.word, $0.unit.isEmpty ? "-" : $0.unit, $0.flags, $0.summary] }
        ).text
    }

    private var flags: String {
        let words = [(isWritable, "writable"), (isPublished, "published"), (isWired, "wired")].filter(\.0).map(\.1)
        return words.isEmpty ? "-" : words.joined(separator: ",")
    }

    var json: JSONValue {
        [
            "name": .text(name), "type": .text(type.word), "unit": unit.isEmpty ? .null : .text(unit),
            "writable": .bool(isWritable), "published": .bool(isPublished), "wired": .bool(isWired),
            "description": summary.isEmpty ? .null : .text(summary),
        ]
    }
}

extension SignalListing {
    init(_ signal: Signal) {
        self.init(
            name: signal.name.description, type: signal.type, unit: signal.unit ?? "", isWritable: signal.isWritable,
            isPublished: signal.isPublished, isWired: signal.isWired, summary: signal.summary ?? "")
    }
}
