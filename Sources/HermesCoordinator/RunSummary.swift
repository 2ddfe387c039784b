import HermesProtocol

/// What is left of a run when it is over; the JSON of `--summary`.
public struct RunSummary: Codable, Sendable {
    public var name: String
    public var mode: String
    /// Completed frames of the last epoch.
    public var frames: UInt64
    /// Simulated seconds of the last epoch.
    public var time: Double
    /// Seconds from the start of the run to the end of staging.
    public var startup_s: Double
    /// Seconds from the first step to the last done.
    public var wall_s: Double
    public var frames_per_s: Double
    /// Simulated seconds a second; null without frames.
    public var realtime_factor: Double?
    public var modules: Int
    public var hosts: Int
    public var epochs: Int
    public var overruns: UInt64
    /// How often realtime began its deadlines anew, too late to catch up; null when it did not.
    public var resynchronised: UInt64?
    /// How late realtime frames began.
    public var lateness_us: RunTiming.Percentiles?
    /// Of a run with realtime frames.
    public var realtime: RealtimeSummary?
    /// Where the time of the frames went; null without frames.
    public var timing: RunTiming?
    /// By module and host, where it was asked for.
    public var profile: RunProfile?
    /// How often frames waited for the recording.
    public var recording_stalls: UInt64?
    public var digest: String?
    /// Digests of epochs that a reset ended, oldest first.
    public var earlier_digests: [String]?
    /// What `on_module_error` did, in the order it became known.
    public var module_errors: [ModuleError]
    public var outcome: RunOutcome
    public var error: String?

    /// Every key is there in every summary, null where it has no value, save `digest` and what else was not asked for.
    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(name, forKey: .name)
        try keys.encode(mode, forKey: .mode)
        try keys.encode(frames, forKey: .frames)
        try keys.encode(time, forKey: .time)
        try keys.encode(startup_s, forKey: .startup_s)
        try keys.encode(wall_s, forKey: .wall_s)
        try keys.encode(frames_per_s, forKey: .frames_per_s)
        try keys.encode(realtime_factor, forKey: .realtime_factor)
        try keys.encode(modules, forKey: .modules)
        try keys.encode(hosts, forKey: .hosts)
        try keys.encode(epochs, forKey: .epochs)
        try keys.encode(overruns, forKey: .overruns)
        try keys.encodeIfPresent(resynchronised, forKey: .resynchronised)
        try keys.encodeIfPresent(lateness_us, forKey: .lateness_us)
        try keys.encodeIfPresent(realtime, forKey: .realtime)
        try keys.encode(timing, forKey: .timing)
        try keys.encodeIfPresent(profile, forKey: .profile)
        try keys.encodeIfPresent(recording_stalls, forKey: .recording_stalls)
        try keys.encodeIfPresent(digest, forKey: .digest)
        try keys.encodeIfPresent(earlier_digests, forKey: .earlier_digests)
        try keys.encode(module_errors, forKey: .module_errors)
        try keys.encode(outcome, forKey: .outcome)
        try keys.encode(error, forKey: .error)
    }
}
