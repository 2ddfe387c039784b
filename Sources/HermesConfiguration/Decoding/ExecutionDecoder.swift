import HermesModel

/// The mapping `execution:`.
struct ExecutionDecoder {
    let findings: Findings

    func decode(_ node: Node) -> ExecutionDraft {
        var draft = ExecutionDraft()
        guard let fields = Fields(node, .execution, of: "`execution`", findings: findings) else {
            draft.rateIsUsable = false
            return draft
        }
        draft.mode = fields.choice("mode", among: Execution.Mode.allCases)?.value
        draft.rateHz = fields.number("rate_hz", .positive)
        draft.rateIsUsable = draft.rateHz != nil || !fields.has("rate_hz")
        draft.endTime = fields.number("end_time", .notNegative)
        draft.stepTimeoutSeconds = fields.number("step_timeout_s", .notNegative)?.value
        draft.livenessSeconds = fields.number("liveness_timeout_s", .positive)
        draft.onModuleError = fields.choice("on_module_error", among: ErrorPolicy.allCases)
        draft.restartLimit = fields.integer("restart_limit")
        draft.mirrors = fields.choice("mirrors", among: MirrorTransport.allCases)?.value
        draft.schedule = schedule(fields)
        if let node = fields.node("realtime") {
            draft.realtimeMark = fields.keyMark("realtime")
            draft.realtime = RealtimeDecoder(findings: findings).decode(node)
        }
        return draft
    }

    /// Each item of the list is one phase: a module, or a list of modules side by side.
    private func schedule(_ fields: Fields) -> Located<[[Located<String>]]>? {
        guard let node = fields.node("schedule") else { return nil }
        guard case .sequence(let items) = node.content else {
            findings.error(
                node.mark,
                "`schedule` must be a list of modules, not \(node.content.kindNoun); without it all modules run side by side"
            )
            return nil
        }
        let phases = items.map { item in
            guard case .sequence(let members) = item.content else { return modules(item, fields) }
            if members.isEmpty { findings.error(item.mark, "a phase of no modules; remove it") }
            return members.flatMap { member in
                if case .sequence = member.content {
                    findings.error(
                        member.mark,
                        "`schedule` nests deeper than two levels; it is a list of phases, each a module or a list of modules"
                    )
                }
                return modules(member, fields)
            }
        }
        return Located(value: phases, mark: fields.keyMark("schedule") ?? node.mark)
    }

    /// The modules named in a node; also those nested too deep, which would else seem left out.
    private func modules(_ node: Node, _ fields: Fields) -> [Located<String>] {
        if case .sequence(let items) = node.content { return items.flatMap { modules($0, fields) } }
        return fields.text(node, named: "a module in `schedule`").map { [$0] } ?? []
    }
}
