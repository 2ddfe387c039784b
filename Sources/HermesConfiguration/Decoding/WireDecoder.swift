import HermesModel

/// The list `wiring:`. Wires whose names can't be read are reported and left out.
struct WireDecoder {
    let findings: Findings

    func decode(_ nodes: [Node]) -> [Wire] {
        var wires: [Wire] = []
        wires.reserveCapacity(nodes.count)
        for node in nodes {
            if let wire = decode(node) { wires.append(wire) }
        }
        return wires
    }

    private func decode(_ node: Node) -> Wire? {
        guard let fields = Fields(node, .wire, of: "a wire", findings: findings) else { return nil }
        let source = name("src", fields)
        let destination = name("dst", fields)
        let gain = fields.number("gain", .finite)
        let offset = fields.number("offset", .finite)
        guard let source, let destination else { return nil }
        return Wire(
            source: source.value, destination: destination.value, gain: gain?.value ?? 1, offset: offset?.value ?? 0,
            sourceLocation: findings.location(source.mark), destinationLocation: findings.location(destination.mark))
    }

    private func name(_ key: String, _ fields: Fields) -> Located<SignalName>? {
        guard let text = fields.text(key) else {
            if fields.lacks(key) {
                findings.error(fields.mark, "a wire has no `\(key)`; write `\(key): MODULE.SIGNAL`")
            }
            return nil
        }
        guard let name = SignalName(text.value) else {
            findings.error(text.mark, "`\(key)` must be MODULE.SIGNAL, not \(quoted(text.value))")
            return nil
        }
        if let fault = SignalDecoder.fault(inSignal: name.signal) {
            findings.error(text.mark, fault)
            return nil
        }
        return Located(value: name, mark: text.mark)
    }
}
