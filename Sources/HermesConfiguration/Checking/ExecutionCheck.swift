import HermesModel
import HermesSystem

/// The schedule against the modules, and times against the rate.
struct ExecutionCheck {
    /// Frames are counted exactly in f64 up to here.
    static let frameLimit = 9_007_199_254_740_992.0

    /// What nodes take.
    static let livenessRange = 0.1...3600.0

    let findings: Findings

    func check(_ draft: SimulationDraft) {
        if let rate = draft.execution.rateHz, !(1 / rate.value).isFinite {
            findings.error(rate.mark, "`rate_hz` \(rate.value) is so small that a frame has no finite length")
        }
        if let end = draft.execution.endTime, let rate = draft.execution.baseRateHz, end.value * rate > Self.frameLimit
        {
            findings.error(
                end.mark, "`end_time` \(end.value) makes more than 2^53 frames; leave it out to run until stopped")
        }
        if let liveness = draft.execution.livenessSeconds, !Self.livenessRange.contains(liveness.value) {
            findings.error(
                liveness.mark,
                "`liveness_timeout_s` must be 0.1 to 3600 seconds, not \(liveness.value): a host is lost when nothing was heard of it for so long"
            )
        }
        if let schedule = draft.execution.schedule, !draft.modulesAreUnreadable {
            check(schedule, draft.modules.map(\.name.value))
        }
    }

    private func check(_ schedule: Located<[[Located<String>]]>, _ names: [String]) {
        let known = Set(names.map(\.bytes))
        var first: [ByteString: Mark] = [:]
        var meant: Set<ByteString> = []
        for module in schedule.value.joined() {
            if !known.contains(module.value.bytes) {
                let near = findings.nearest(to: module.value, among: names)
                findings.error(
                    module.mark,
                    "unknown module \(quoted(module.value))\(near.map { findings.question(module.value, $0) } ?? "")")
                if let near { meant.insert(near.bytes) }
            } else if let earlier = first[module.value.bytes] {
                findings.error(
                    module.mark,
                    "module \(quoted(module.value)) stands in `schedule` twice, first at \(earlier.line):\(earlier.column)"
                )
            } else {
                first[module.value.bytes] = module.mark
            }
        }
        // A misspelt module is not left out as well.
        for name in names where first[name.bytes] == nil && !meant.contains(name.bytes) {
            findings.error(
                schedule.mark, "`schedule` leaves out module \(quoted(name)); every module stands in it once")
        }
    }
}
