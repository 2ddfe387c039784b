import HermesProtocol
import HermesTiming

/// Where the time of a run's frames went; `timing` in the JSON of `--summary`. Microseconds throughout.
public struct RunTiming: Codable, Sendable {
    public struct Percentiles: Codable, Sendable {
        public var p50, p99, p999, max: Double

        /// Nil for nothing.
        init?(_ durations: Durations) {
            if durations.counts.isEmpty { return nil }
            p50 = microseconds(durations.percentile(50))
            p99 = microseconds(durations.percentile(99))
            p999 = microseconds(durations.percentile(99.9))
            max = microseconds(durations.longest)
        }
    }
    /// The frame that took longest.
    public struct WorstFrame: Codable, Sendable {
        public enum Part: String, Codable, Sendable { case execute, wait, network, coordinator }
        public var epoch: UInt32
        public var frame: UInt64
        public var time_us: Double
        /// What most of it was.
        public var part: Part
        /// Where that was: of a network the host that was waited for.
        public var host: String
        /// Whose step was the longest there, if it is known.
        public var module: String?
    }
    public struct ModuleStart: Codable, Sendable {
        public var module: String
        public var host: String
        public var p50, p99, max: Double
    }

    /// How late realtime frames began.
    public var lateness: Percentiles?
    /// Of them, those before which the coordinator slept: how late it woke up, which is the system's part.
    public var wake_up: Percentiles?
    /// How late steps began: after the frame's deadline at the desk in realtime, else after their phase was released.
    public var step_start: Percentiles?
    /// The longest step of each phase; of each frame and host.
    public var execute: Percentiles?
    /// Wake-ups, delivery and whatever else a host's frame is made of.
    public var wait: Percentiles?
    /// Exchange with other hosts; null on one host.
    public var network: Percentiles?
    /// What the coordinator took for itself: commands, recording and other observers.
    public var coordinator: Percentiles?
    /// From one frame to the next, in realtime from its begin to its end.
    public var frame: Percentiles?
    public var worst_frame: WorstFrame?
    /// `step_start` of each module.
    public var module_starts: [ModuleStart]
    /// Hosts that did not tell: lost, or too slow to end.
    public var missing_hosts: [String]

    /// - Parameter hosts: all that have modules.
    init(_ told: [HostTimes], _ turns: TurnTimes?, pacer: Pacer?, hosts: [String]) {
        func all(_ part: (HostTimes) -> Durations) -> Percentiles? {
            Percentiles(told.map(part).reduce(Durations(), +))
        }
        lateness = pacer.flatMap { Percentiles($0.lateness.durations) }
        wake_up = pacer.flatMap { Percentiles($0.wakeUps.durations) }
        step_start = all { $0.modules.map(\.start).reduce(Durations(), +) }
        // The desk takes part in every run, with modules or without.
        let stepping = told.filter { !$0.modules.isEmpty }
        execute = Percentiles(stepping.map(\.execute).reduce(Durations(), +))
        wait = Percentiles(stepping.map(\.wait).reduce(Durations(), +))
        network = Percentiles(stepping.map(\.network).reduce(Durations(), +))
        coordinator = turns.flatMap { Percentiles($0.coordinator.durations) }
        frame = turns.flatMap { Percentiles($0.frame.durations) }
        worst_frame = WorstFrame(told, turns)
        module_starts = told.flatMap { host in
            host.modules.compactMap { module in
                guard let start = Percentiles(module.start) else { return nil }
                return ModuleStart(
                    module: module.name, host: host.host, p50: start.p50, p99: start.p99, max: start.max)
            }
        }
        missing_hosts = hosts.filter { host in !told.contains { $0.host == host } }
    }

    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(lateness, forKey: .lateness)
        try keys.encode(wake_up, forKey: .wake_up)
        try keys.encode(step_start, forKey: .step_start)
        try keys.encode(execute, forKey: .execute)
        try keys.encode(wait, forKey: .wait)
        try keys.encode(network, forKey: .network)
        try keys.encode(coordinator, forKey: .coordinator)
        try keys.encode(frame, forKey: .frame)
        try keys.encode(worst_frame, forKey: .worst_frame)
        try keys.encode(module_starts, forKey: .module_starts)
        try keys.encode(missing_hosts, forKey: .missing_hosts)
    }
}

extension RunTiming.WorstFrame {
    /// The slowest frame of all that hosts and coordinator have kept. On hosts it is followed along those that waited for
    /// another's values to the one that was waited for.
    init?(_ told: [HostTimes], _ turns: TurnTimes?) {
        let kept = told.flatMap { host in host.slowest.map { (host: host.host, frame: $0) } }
        let turns = turns?.slowest.sorted ?? []
        let slowest = kept.max { $0.frame.time < $1.frame.time }
        if let turn = turns.first, turn.time > slowest?.frame.time ?? 0 {
            self.init(turn.detail)
            return
        }
        guard let slowest else { return nil }
        var host = slowest.host, here: SlowFrame? = slowest.frame, visited: Set<String> = [host]  // ASCII
        while let frame = here, frame.network * 2 > frame.time, let peer = frame.peer, visited.insert(peer).inserted {
            host = peer
            here =
                kept.first { $0.host == peer && $0.frame.frame == frame.frame && $0.frame.epoch == frame.epoch }?.frame
        }
        // A desk that nothing held up came late to its frame: the coordinator is on the same thread.
        let whole = slowest.frame
        if host == "desk", here == nil,
            let turn = turns.first(where: { $0.detail.next == whole.frame && $0.detail.epoch == whole.epoch }),
            turn.time * 2 > whole.time
        {
            self.init(turn.detail)
            return
        }
        var part = Part.network
        if let here, here.network * 2 <= here.time { part = here.step * 2 > here.time ? .execute : .wait }
        self.init(
            epoch: whole.epoch, frame: whole.frame, time_us: microseconds(whole.time), part: part, host: host,
            module: here?.module)
    }

    /// A frame that the coordinator held up.
    private init(_ turn: TurnTimes.Detail) {
        self.init(
            epoch: turn.epoch, frame: turn.frame, time_us: microseconds(turn.time), part: .coordinator, host: "desk",
            module: nil)
    }
}

/// Of nanoseconds, to a tenth.
func microseconds(_ nanoseconds: UInt64) -> Double { (Double(nanoseconds) / 100).rounded() / 10 }
