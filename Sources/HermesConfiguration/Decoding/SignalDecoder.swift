import HermesModel

/// The list `signals:` of a module.
struct SignalDecoder {
    /// The longest name a module can announce, in bytes.
    static let nameLimit = 4096

    let findings: Findings

    func decode(_ nodes: [Node]) -> [SignalSettings] {
        nodes.compactMap(decode)
    }

    private func decode(_ node: Node) -> SignalSettings? {
        guard let fields = Fields(node, .signal, of: "a signal", findings: findings) else { return nil }
        if fields.lacks("name") { findings.error(fields.mark, "a signal has no `name`") }
        let name = fields.text("name")
        let type = type(fields)
        let unit = fields.text("unit")
        if let unit, unit.value.unicodeScalars.contains(where: isControl) {
            findings.error(unit.mark, "unit \(quoted(unit.value)) holds a control character")
        }
        let writable = fields.boolean("writable")
        let published = fields.boolean("published")
        guard let name else { return nil }
        if let fault = Self.fault(inSignal: name.value) {
            findings.error(name.mark, fault)
        } else if name.value.utf8.contains(UInt8(ascii: "*")) {
            findings.error(
                name.mark, "signal name \(quoted(name.value)) holds a `*`, which stands for many signals in bulk wires")
        }
        return SignalSettings(
            name: name.value, type: type?.value, unit: unit?.value, writable: writable, published: published,
            location: findings.location(name.mark), typeLocation: type.map { findings.location($0.mark) })
    }

    private func type(_ fields: Fields) -> Located<SignalType>? {
        guard let word = fields.text("type") else { return nil }
        if let type = SignalType(word: word.value) { return Located(value: type, mark: word.mark) }
        let words = SignalType.allCases.map(\.word)
        findings.error(
            word.mark,
            "`type` of a signal must be \(alternatives(words)), not \(quoted(word.value))\(findings.suggestion(for: word.value, among: words))"
        )
        return nil
    }

    /// What is wrong with a signal's local name, wherever it stands.
    static func fault(inSignal name: String) -> String? {
        if name.isEmpty { return "a signal's name is empty" }
        if name.utf8.count > nameLimit { return "signal name \(quoted(name)) is longer than \(nameLimit) bytes" }
        if name.unicodeScalars.contains(where: isControl) {
            return "signal name \(quoted(name)) holds a control character"
        }
        return nil
    }
}
