/// A mapping whose keys were held against the keys it may have; reads its values by type. A reader returns nil when the
/// key is missing and also when its value is wrong, which it has then reported.
struct Fields {
    let mark: Mark
    let findings: Findings
    private let entries: [Node.Entry]
    /// Known keys that unknown ones were likely meant to be.
    private var misspelt: Set<String> = []  // ASCII

    /// Nil, and reported, when `node` is no mapping. `what` is what the mapping describes, for messages.
    init?(_ node: Node, _ keySet: KeySet, of what: String, findings: Findings) {
        mark = node.mark
        self.findings = findings
        switch node.content {
        case .mapping(let entries):
            self.entries = entries
        case .scalar(let scalar) where scalar.meaning == .null:
            entries = []
        default:
            findings.error(node.mark, "\(what) must be a mapping of keys, not \(node.content.kindNoun)")
            return nil
        }
        for entry in entries where !keySet.keys.contains(entry.key) {
            let near = findings.nearest(to: entry.key, among: keySet.keys)
            if let near { misspelt.insert(near) }
            let hint =
                near.map { String(findings.question(entry.key, $0).dropFirst(2)) }
                ?? "it takes \(keySet.keys.map(quoted).joined(separator: ", "))"
            findings.error(entry.keyMark, "unknown key \(quoted(entry.key)) in \(keySet.owner); \(hint)")
        }
    }

    /// True when a key is neither there nor, by the look of it, misspelt: a misspelt key is one fault, not two.
    func lacks(_ key: String) -> Bool { !has(key) && !misspelt.contains(key) }

    func has(_ key: String) -> Bool { entry(key) != nil }

    /// Where the key stands, where it is given.
    func keyMark(_ key: String) -> Mark? { entry(key)?.keyMark }

    func node(_ key: String) -> Node? { entry(key)?.value }

    private func entry(_ key: String) -> Node.Entry? {
        entries.first { $0.key == key }  // ASCII
    }

    // MARK: - Values by type

    func text(_ key: String) -> Located<String>? {
        node(key).flatMap { text($0, named: "`\(key)`") }
    }

    /// The text of one node; `what` names it in messages.
    func text(_ node: Node, named what: String) -> Located<String>? {
        guard let scalar = scalar(node, named: what, wanted: "text") else { return nil }
        guard scalar.meaning == .text else {
            wrong(node, what, "text", hint: "; write it in quotes")
            return nil
        }
        return Located(value: scalar.text, mark: node.mark)
    }

    /// Text, or a number or boolean as it is written: for what is handed on as text.
    func anyScalar(_ node: Node, named what: String) -> String? {
        scalar(node, named: what, wanted: "text")?.text
    }

    func boolean(_ key: String) -> Bool? {
        guard let node = node(key), let scalar = scalar(node, named: "`\(key)`", wanted: "`true` or `false`") else {
            return nil
        }
        if case .boolean(let value) = scalar.meaning { return value }
        wrong(node, "`\(key)`", "`true` or `false`", hint: booleanHint(scalar))
        return nil
    }

    private func booleanHint(_ scalar: Scalar) -> String {
        if !scalar.isPlain, ["true", "false"].contains(scalar.text) { return "; remove the quotes" }
        return switch scalar.text.lowercased() {
        case "yes", "on", "y", "true": "; write `true`"
        case "no", "off", "n", "false": "; write `false`"
        default: ""
        }
    }

    func integer(_ key: String) -> Located<Int>? {
        node(key).flatMap { integer($0, named: "`\(key)`") }
    }

    /// The whole number of one node; `what` names it in messages.
    func integer(_ node: Node, named what: String) -> Located<Int>? {
        guard let scalar = scalar(node, named: what, wanted: "a whole number") else { return nil }
        if case .integer(let value) = scalar.meaning { return Located(value: value, mark: node.mark) }
        wrong(node, what, "a whole number", hint: numberHint(scalar))
        return nil
    }

    func number(_ key: String, _ range: NumberRange) -> Located<Double>? {
        guard let node = node(key), let scalar = scalar(node, named: "`\(key)`", wanted: range.noun) else { return nil }
        let value: Double
        switch scalar.meaning {
        case .integer(let integer): value = Double(integer)
        case .number(let number): value = number
        default:
            wrong(node, "`\(key)`", range.noun, hint: numberHint(scalar))
            return nil
        }
        guard range.contains(value) else {
            let cause =
                value.isInfinite && !scalar.text.lowercased().contains("inf")
                ? "; it is too large for a 64-bit float" : ""
            findings.error(node.mark, "`\(key)` must be \(range.noun), not \(quoted(scalar.text))\(cause)")
            return nil
        }
        return Located(value: value, mark: node.mark)
    }

    private func numberHint(_ scalar: Scalar) -> String {
        guard !scalar.isPlain else { return "" }
        switch Scalar(text: scalar.text, isPlain: true).meaning {
        case .integer, .number: return "; remove the quotes"
        default: return ""
        }
    }

    /// One of the words of an enumeration. `what` is what is chosen, for messages.
    func choice<Choice: RawRepresentable>(_ key: String, among choices: [Choice]) -> Located<Choice>?
    where Choice.RawValue == String {
        guard let text = text(key) else { return nil }
        if let choice = choices.first(where: { $0.rawValue == text.value }) {
            return Located(value: choice, mark: text.mark)
        }
        let words = choices.map(\.rawValue)
        findings.error(
            text.mark,
            "`\(key)` must be \(alternatives(words)), not \(quoted(text.value))\(findings.suggestion(for: text.value, among: words))"
        )
        return nil
    }

    /// The items of a list; an empty value is an empty list.
    func sequence(_ key: String) -> [Node]? {
        guard let node = node(key) else { return nil }
        switch node.content {
        case .sequence(let items): return items
        case .scalar(let scalar) where scalar.meaning == .null: return []
        default:
            wrong(node, "`\(key)`", "a list")
            return nil
        }
    }

    /// The entries of a mapping with free keys; an empty value is an empty mapping.
    func mapping(_ key: String) -> [Node.Entry]? {
        guard let node = node(key) else { return nil }
        switch node.content {
        case .mapping(let entries): return entries
        case .scalar(let scalar) where scalar.meaning == .null: return []
        default:
            wrong(node, "`\(key)`", "a mapping of names")
            return nil
        }
    }

    // MARK: - Wrong types

    private func scalar(_ node: Node, named what: String, wanted: String) -> Scalar? {
        guard case .scalar(let scalar) = node.content else {
            wrong(node, what, wanted)
            return nil
        }
        if scalar.meaning == .null {
            findings.error(node.mark, "\(what) has no value; give it one or remove it")
            return nil
        }
        return scalar
    }

    private func wrong(_ node: Node, _ what: String, _ wanted: String, hint: String = "") {
        findings.error(node.mark, "\(what) must be \(wanted), not \(node.content.kindNoun)\(hint)")
    }
}

/// "`a`, `b` or `c`".
func alternatives(_ words: [String]) -> String {
    let shown = words.map { "`\($0)`" }
    guard let last = shown.last, shown.count > 1 else { return shown.first ?? "" }
    return shown.dropLast().joined(separator: ", ") + " or " + last
}

/// Which numbers a key takes.
enum NumberRange {
    case finite, positive, notNegative

    var noun: String {
        switch self {
        case .finite: "a finite number"
        case .positive: "a finite number above 0"
        case .notNegative: "a finite number, 0 or above"
        }
    }

    func contains(_ value: Double) -> Bool {
        switch self {
        case .finite: value.isFinite
        case .positive: value.isFinite && value > 0
        case .notNegative: value.isFinite && value >= 0
        }
    }
}
