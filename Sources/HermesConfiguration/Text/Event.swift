import CYAML
import HermesModel

/// One of libyaml's events in Swift's own memory.
struct Event {
    enum Kind: Equatable {
        case documentStart, streamEnd, alias, sequenceStart, sequenceEnd, mappingStart, mappingEnd
        case scalar(Scalar)
        /// Nothing a reader acts on.
        case other
    }

    var kind: Kind
    var mark: Mark
    /// The name of the anchor or, for an alias, of what it stands for.
    var anchor: String?

    /// Throws a Diagnostic for a tag that Hermes does not know.
    init(_ event: yaml_event_t, findings: Findings) throws {
        mark = Mark(event.start_mark)
        switch event.type {
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_STREAM_END_EVENT: kind = .streamEnd
        case YAML_SEQUENCE_END_EVENT: kind = .sequenceEnd
        case YAML_MAPPING_END_EVENT: kind = .mappingEnd
        case YAML_ALIAS_EVENT:
            kind = .alias
            anchor = text(event.data.alias.anchor)
        case YAML_SEQUENCE_START_EVENT:
            kind = .sequenceStart
            anchor = text(event.data.sequence_start.anchor)
            try Tag.check(text(event.data.sequence_start.tag), for: ["seq"], at: mark, findings)
        case YAML_MAPPING_START_EVENT:
            kind = .mappingStart
            anchor = text(event.data.mapping_start.anchor)
            try Tag.check(text(event.data.mapping_start.tag), for: ["map"], at: mark, findings)
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let value = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            let tag = text(scalar.tag)
            try Tag.check(tag, for: ["str", "int", "float", "bool", "null"], at: mark, findings)
            let isPlain = tag == nil ? scalar.style == YAML_PLAIN_SCALAR_STYLE : tag != "!" && tag != Tag.core + "str"
            kind = .scalar(Scalar(text: value, isPlain: isPlain))
            anchor = text(scalar.anchor)
        default: kind = .other
        }
    }
}

/// The tags of YAML's core schema; a tag in a configuration may say what a value is, never make it something else.
enum Tag {
    static let core = "tag:yaml.org,2002:"

    static func check(_ tag: String?, for known: [String], at mark: Mark, _ findings: Findings) throws {
        guard let tag, tag != "!", !known.contains(where: { tag == core + $0 }) else { return }
        throw Diagnostic(.error, at: findings.location(mark), "tag \(quoted(tag)) means nothing here; remove it")
    }
}

private func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
    pointer.map { String(cString: $0) }
}

extension Mark {
    /// libyaml counts from 0.
    init(_ mark: yaml_mark_t) {
        self.init(line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }
}
