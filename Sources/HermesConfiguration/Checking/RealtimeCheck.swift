import HermesModel
import HermesSystem

/// How realtime runs are to keep their time, against what Linux and modules of a kind can do.
struct RealtimeCheck {
    let findings: Findings

    func check(_ draft: SimulationDraft) {
        if let priority = draft.execution.realtime.priority, !Realtime.priorities.contains(priority.value) {
            findings.error(
                priority.mark,
                "`priority` must be 1 to 99, as SCHED_FIFO counts, not `\(priority.value)`; leave it out for ordinary scheduling"
            )
        }
        let mode = draft.execution.mode ?? Execution().mode
        if let mark = draft.execution.realtimeMark, mode != .realtime {
            findings.warning(
                mark,
                "`realtime` counts in realtime mode alone, and this file says `mode: \(mode.rawValue)`; write `mode: realtime` or run with `--mode realtime`"
            )
        }
        for module in draft.modules { check(module) }
    }

    private func check(_ module: ModuleDraft) {
        guard let cpus = module.cpus else { return }
        let name = quoted(module.name.value)
        if module.kind == .inproc {
            findings.error(
                cpus.mark,
                "module \(name) is of `type: inproc`, which runs on its node's thread: give `cpus` of `realtime` or of its host, or make it a process"
            )
        }
        // Whether a Python script is free shows when it announces.
        if module.kind == .script, let program = module.program?.value, !ByteString(program).hasSuffix(".py") {
            findings.error(
                cpus.mark,
                "script \(name) is a free script, which runs beside the frames: `cpus` can't be kept; remove it")
        }
    }
}
