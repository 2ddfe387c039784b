import FoundationEssentials
import HermesModel

/// JSON for programs: keys in the order written, integers exact, and "nan", "inf" and "-inf" for what JSON has no number for.
enum JSONValue {
    case null
    case bool(Bool)
    case number(String)
    case text(String)
    case list([JSONValue])
    case object([JSONMember])

    static func integer(_ value: some BinaryInteger) -> JSONValue { .number(value.description) }
    static func double(_ value: Double) -> JSONValue { .signal(value.bitPattern, .f64) }

    /// A signal's value, read back to the same bits.
    static func signal(_ bits: UInt64, _ type: SignalType) -> JSONValue {
        let text = SignalValue.text(bits, type)
        switch type {
        case .bool: return .bool(text == "true")
        case .i64, .i32: return .number(text)
        case .f64, .f32:
            return text.utf8.last.map { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 } == true
                ? .number(text) : .text(text)
        }
    }

    var description: String { written(indent: "") }

    private func written(indent: String) -> String {
        let inner = indent + "  "
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .number(let text): return text
        case .text(let text): return Self.quoted(text)
        case .list(let values):
            if values.isEmpty { return "[]" }
            return "[\n" + values.map { inner + $0.written(indent: inner) }.joined(separator: ",\n") + "\n\(indent)]"
        case .object(let pairs):
            if pairs.isEmpty { return "{}" }
            let lines = pairs.map { "\(inner)\(Self.quoted($0.key)): \($0.value.written(indent: inner))" }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
        }
    }

    private static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        // A text always encodes.
        return String(decoding: (try? encoder.encode(text)) ?? Data(), as: UTF8.self)
    }
}

extension JSONValue: ExpressibleByDictionaryLiteral {
    typealias Key = String
    typealias Value = JSONValue

    init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(elements.map { JSONMember(key: $0.0, value: $0.1) })
    }
}

struct JSONMember {
    var key: String
    var value: JSONValue
}
