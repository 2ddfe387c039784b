import HermesModel
import HermesProtocol

/// What became of `execution.realtime`: the object `realtime` of the summary.
public struct RealtimeSummary: Codable, Sendable {
    public var on_overrun: String
    public var grace_s: Double
    /// Those of the grace; they are not among the summary's `overruns`.
    public var overruns_in_grace: UInt64
    /// Deadlines at which no frame began, with `skip`.
    public var skipped_deadlines: UInt64
    /// Seconds by which deadlines have moved, with `slip`.
    public var slipped_s: Double
    /// Whether what can't be had ends the run.
    public var required: Bool
    /// What was asked of threads and their processes, and what they had when the frames began.
    public var threads: [RealtimeThread]
    public var cautions: [String]

    init(_ realtime: Realtime, _ pacer: Pacer, _ report: RealtimeReport) {
        on_overrun = realtime.onOverrun.rawValue
        grace_s = realtime.graceSeconds
        overruns_in_grace = pacer.graceOverruns
        skipped_deadlines = pacer.skippedDeadlines
        slipped_s = Double(pacer.slippedNanoseconds) / 1e9
        required = realtime.isRequired
        threads = report.threads
        cautions = report.cautions
    }
}
