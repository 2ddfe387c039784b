import HermesSystem

/// The entries of one mapping as they come: finds duplicate keys, then lays merged entries (`<<`) beneath its own.
struct MappingBuilder {
    let findings: Findings
    private(set) var entries: [Node.Entry] = []
    private(set) var size = 1
    private(set) var height = 0
    private var merges: [Node] = []
    private var mergeMark: Mark?
    /// Made once a mapping is too large to look through.
    private var places: [ByteString: Int] = [:]

    init(findings: Findings) {
        self.findings = findings
    }

    mutating func add(key: Node, keyMark: Mark, isPlainKey: Bool, value: NodeParser.Measured) {
        size += value.size + 1
        height = max(height, value.height)
        guard case .scalar(let scalar) = key.content else {
            findings.error(keyMark, "a key must be text, not \(key.content.kindNoun)")
            return
        }
        if isPlainKey, scalar.text == "<<" {
            if let mergeMark { duplicate("<<", keyMark, first: mergeMark) }
            mergeMark = mergeMark ?? keyMark
            merges.append(value.node)
            return
        }
        if let place = place(of: scalar.text) {
            duplicate(scalar.text, keyMark, first: entries[place].keyMark)
            return
        }
        append(Node.Entry(key: scalar.text, keyMark: keyMark, value: value.node))
    }

    /// What the mapping says itself goes before what it merges, and of several merged mappings the first goes before the others.
    mutating func merge() {
        for node in merges {
            if case .sequence(let items) = node.content {
                for item in items { lay(item) }
            } else {
                lay(node)
            }
        }
    }

    private mutating func lay(_ node: Node) {
        guard case .mapping(let merged) = node.content else {
            findings.error(node.mark, "`<<` merges a mapping or a list of mappings, not \(node.content.kindNoun)")
            return
        }
        for entry in merged where place(of: entry.key) == nil { append(entry) }
    }

    private mutating func append(_ entry: Node.Entry) {
        entries.append(entry)
        if entries.count > 16 {
            if places.isEmpty { for (place, entry) in entries.enumerated() { places[entry.key.bytes] = place } }
            places[entry.key.bytes] = entries.count - 1
        }
    }

    private func place(of key: String) -> Int? {
        entries.count > 16 ? places[key.bytes] : entries.firstIndex { $0.key.isSame(as: key) }
    }

    private func duplicate(_ key: String, _ mark: Mark, first: Mark) {
        findings.error(mark, "duplicate key \(quoted(key)); it stands at \(first.line):\(first.column) already")
    }
}

extension Node.Content {
    /// "a list", "the number `5`": what stands where something else should.
    var kindNoun: String {
        switch self {
        case .sequence: return "a list"
        case .mapping: return "a mapping"
        case .scalar(let scalar):
            switch scalar.meaning {
            case .null: return "nothing"
            case .boolean: return "the boolean \(quoted(scalar.text))"
            case .integer, .number: return "the number \(quoted(scalar.text))"
            case .text: return "the text \(quoted(scalar.text))"
            }
        }
    }
}
