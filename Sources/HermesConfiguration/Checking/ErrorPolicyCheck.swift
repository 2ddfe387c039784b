import HermesModel
import HermesSystem

/// What is to happen when modules fail, against what can be done with modules of their kind.
struct ErrorPolicyCheck {
    let findings: Findings

    func check(_ draft: SimulationDraft) {
        if let limit = draft.execution.restartLimit, limit.value < 1 {
            findings.error(
                limit.mark,
                "`restart_limit` must be 1 or more, not `\(limit.value)`; `on_module_error: stop` starts nothing again")
        }
        for module in draft.modules {
            guard let policy = module.onError ?? draft.execution.onModuleError else { continue }
            check(policy, of: module)
        }
    }

    private func check(_ policy: Located<ErrorPolicy>, of module: ModuleDraft) {
        if module.kind == .inproc, policy.value == .restart {
            findings.error(
                policy.mark,
                "module \(quoted(module.name.value)) is of `type: inproc`, which can't be started again: give it `on_module_error: stop` or `hold`, or make it a process"
            )
        }
        // Whether a Python script is free shows when it announces.
        if module.kind == .script, let own = module.onError, own.value != .stop,
            let program = module.program?.value, !ByteString(program).hasSuffix(".py")
        {
            findings.error(
                own.mark,
                "script \(quoted(module.name.value)) is a free script, which runs beside the frames: `on_module_error: \(own.value.rawValue)` can't be kept; remove it"
            )
        }
    }
}
