import HermesProtocol

/// Where the time of a run's frames went, by module and host; `profile` in the JSON of `--summary`. Microseconds a frame, shares of the
/// time of all frames.
public struct RunProfile: Codable, Sendable {
    public struct Spent: Codable, Sendable {
        public var mean_us, p99_us, max_us: Double
        /// Of the time of all frames together, 0 to 1.
        public var share: Double

        /// - Parameter whole: nanoseconds of all frames.
        init(_ durations: Durations, whole: UInt64) {
            mean_us = (durations.mean / 100).rounded() / 10
            p99_us = microseconds(durations.percentile(99))
            max_us = microseconds(durations.longest)
            share = whole == 0 ? 0 : Double(durations.total) / Double(whole)
        }
    }
    public struct Module: Codable, Sendable {
        public var module: String
        public var host: String
        /// In which it stepped.
        public var frames: UInt64
        public var execute: Spent
        /// Of a step: until the last module of its phase was done, too.
        public var wait_mean_us: Double
    }
    public struct Peer: Codable, Sendable {
        public var host: String
        /// Of a frame: how long its values were waited for.
        public var wait_mean_us: Double
        public var wait_max_us: Double
    }
    public struct Host: Codable, Sendable {
        public var host: String
        public var frames: UInt64
        /// A frame on this host, and what it is made of.
        public var frame, execute, mirror, wait: Spent
        public var peers: [Peer]
    }

    /// Completed frames of all epochs.
    public var frames: UInt64
    public var frame: Spent
    public var coordinator: Spent
    public var modules: [Module]
    public var hosts: [Host]

    init(_ told: [HostTimes], _ turns: TurnTimes) {
        let whole = turns.frame.durations
        frames = whole.count
        frame = Spent(whole, whole: whole.total)
        coordinator = Spent(turns.coordinator.durations, whole: whole.total)
        func mean(_ total: UInt64, of count: UInt64) -> Double {
            count == 0 ? 0 : (Double(total) / Double(count) / 100).rounded() / 10
        }
        modules = told.flatMap { host in
            host.modules.map { module in
                Module(
                    module: module.name, host: host.host, frames: module.execute.count,
                    execute: Spent(module.execute, whole: whole.total),
                    wait_mean_us: mean(module.wait, of: module.execute.count))
            }
        }
        hosts = told.map { host in
            Host(
                host: host.host, frames: host.frame.count, frame: Spent(host.frame, whole: whole.total),
                execute: Spent(host.execute, whole: whole.total), mirror: Spent(host.network, whole: whole.total),
                wait: Spent(host.wait, whole: whole.total),
                peers: host.peers.map {
                    Peer(
                        host: $0.host, wait_mean_us: mean($0.wait, of: host.frame.count),
                        wait_max_us: microseconds($0.longest))
                })
        }
    }
}
