import HermesModel

/// The top level of a configuration: nodes to a draft.
struct SimulationDecoder {
    /// The version of the format, the value of `version:`.
    static let version = "0.2"

    let findings: Findings

    /// Nil when `root` is no mapping.
    func decode(_ root: Node) -> SimulationDraft? {
        guard let fields = Fields(root, .simulation, of: "a configuration", findings: findings) else { return nil }
        checkVersion(fields)
        var draft = SimulationDraft()
        draft.name = fields.text("name")
        decodeHosts(fields, into: &draft)
        decodeModules(fields, into: &draft)
        draft.wires = WireDecoder(findings: findings).decode(fields.sequence("wiring") ?? [])
        if let node = fields.node("execution") {
            draft.execution = ExecutionDecoder(findings: findings).decode(node)
        }
        if let node = fields.node("server") {
            draft.server = decodeServer(node)
        }
        return draft
    }

    private func checkVersion(_ fields: Fields) {
        let wanted = "version: \"\(Self.version)\""
        guard let node = fields.node("version") else {
            if fields.lacks("version") { findings.error(fields.mark, "`version` is missing; write `\(wanted)`") }
            return
        }
        guard case .scalar(let scalar) = node.content, scalar.meaning != .null else {
            findings.error(node.mark, "`version` must be text, not \(node.content.kindNoun); write `\(wanted)`")
            return
        }
        if scalar.text == Self.version {
            if scalar.meaning != .text {
                findings.error(
                    node.mark, "`version` must be text, not \(node.content.kindNoun); write it in quotes: `\(wanted)`")
            }
        } else {
            findings.error(
                node.mark,
                "version \(quoted(scalar.text)) is not one that this Hermes reads; bring the file up to docs/configuration.md and write `\(wanted)`"
            )
        }
    }

    private func decodeHosts(_ fields: Fields, into draft: inout SimulationDraft) {
        guard fields.has("hosts") else { return }
        guard let entries = fields.mapping("hosts") else {
            draft.hostsAreUnreadable = true
            return
        }
        draft.hosts = entries.map { HostDecoder(findings: findings).decode($0) }
    }

    private func decodeModules(_ fields: Fields, into draft: inout SimulationDraft) {
        guard fields.has("modules") else {
            draft.modulesAreUnreadable = true
            if fields.lacks("modules") {
                findings.error(fields.mark, "`modules` is missing; a simulation needs at least one module")
            }
            return
        }
        guard let entries = fields.mapping("modules") else {
            draft.modulesAreUnreadable = true
            return
        }
        if entries.isEmpty {
            draft.modulesAreUnreadable = true
            findings.error(fields.keyMark("modules") ?? fields.mark, "no module; a simulation needs at least one")
        }
        draft.modules = entries.map { ModuleDecoder(findings: findings).decode($0) }
    }

    private func decodeServer(_ node: Node) -> ServerDraft {
        guard let fields = Fields(node, .server, of: "`server`", findings: findings) else { return ServerDraft() }
        return ServerDraft(
            enabled: fields.boolean("enabled"), host: fields.text("host"), port: fields.integer("port"),
            telemetryHz: fields.number("telemetry_hz", .positive)?.value)
    }
}
