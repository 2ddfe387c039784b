import HermesModel

/// The mapping `realtime:` of `execution:`.
struct RealtimeDecoder {
    let findings: Findings

    func decode(_ node: Node) -> RealtimeDraft {
        var draft = RealtimeDraft()
        guard let fields = Fields(node, .realtime, of: "`realtime`", findings: findings) else { return draft }
        draft.onOverrun = fields.choice("on_overrun", among: OverrunPolicy.allCases)?.value
        draft.graceSeconds = fields.number("grace_s", .notNegative)?.value
        draft.priority = fields.integer("priority")
        draft.locksMemory = fields.boolean("lock_memory")
        draft.isRequired = fields.boolean("required")
        guard let cpus = fields.node("cpus") else { return draft }
        if case .sequence = cpus.content {
            findings.error(
                cpus.mark,
                "`cpus` of `realtime` says who runs where: `{ coordinator: [0], node: [0], modules: [1] }`, not one list"
            )
        } else if let fields = Fields(cpus, .realtimeCPUs, of: "`cpus` of `realtime`", findings: findings) {
            draft.coordinatorCPUs = fields.cpus("coordinator")
            draft.nodeCPUs = fields.cpus("node")
            draft.moduleCPUs = fields.cpus("modules")
        }
        return draft
    }
}

extension Fields {
    /// CPUs by number, in order and each once.
    func cpus(_ key: String) -> Located<[Int]>? {
        guard let items = sequence(key), let mark = node(key)?.mark else { return nil }
        let numbers = items.compactMap { integer($0, named: "a CPU in `\(key)`") }
        for number in numbers where !CPUList.range.contains(number.value) {
            findings.error(
                number.mark, "a CPU has a number from 0 to \(CPUList.range.upperBound), not `\(number.value)`")
        }
        if items.isEmpty {
            findings.error(mark, "`\(key)` names no CPU; without it the system chooses among all")
        }
        return numbers.isEmpty ? nil : Located(value: Set(numbers.map(\.value)).sorted(), mark: mark)
    }
}
