/// How long something took, time after time: a distribution. It travels as one list of integers: the total, the longest, then
/// each value with how many there are of it.
public struct Durations: Sendable, Equatable {
    /// Nanoseconds, rising. Each stands for what is up to 1 % less.
    public private(set) var values: [UInt64]
    /// How many of each.
    public private(set) var counts: [UInt64]
    /// Nanoseconds of all of them together.
    public private(set) var total: UInt64
    /// Exactly the longest.
    public private(set) var longest: UInt64

    public init(values: [UInt64] = [], counts: [UInt64] = [], total: UInt64 = 0, longest: UInt64 = 0) {
        self.values = values
        self.counts = counts
        self.total = total
        self.longest = longest
    }

    public var count: UInt64 { counts.reduce(0, &+) }

    /// Nanoseconds; 0 for nothing.
    public var mean: Double { count == 0 ? 0 : Double(total) / Double(count) }

    /// Nanoseconds that `percent` of all did not pass; 0 for nothing.
    public func percentile(_ percent: Double) -> UInt64 {
        let wanted = max(1, UInt64((Double(count) * percent / 100).rounded(.up)))
        var seen: UInt64 = 0
        for (value, count) in zip(values, counts) {
            seen &+= count
            if seen >= wanted { return min(value, longest) }
        }
        return longest
    }

    /// All of both.
    public static func + (left: Durations, right: Durations) -> Durations {
        var sum = Durations(total: left.total &+ right.total, longest: max(left.longest, right.longest))
        var (i, j) = (0, 0)
        while i < left.values.count || j < right.values.count {
            let takesLeft = j == right.values.count || i < left.values.count && left.values[i] <= right.values[j]
            let value = takesLeft ? left.values[i] : right.values[j]
            let count = takesLeft ? left.counts[i] : right.counts[j]
            if takesLeft { i += 1 } else { j += 1 }
            if sum.values.last == value {
                sum.counts[sum.counts.count - 1] &+= count
            } else {
                sum.values.append(value)
                sum.counts.append(count)
            }
        }
        return sum
    }
}

extension Durations: Codable {
    public init(from decoder: any Decoder) throws {
        var list = try decoder.unkeyedContainer()
        self.init(total: try list.decode(UInt64.self), longest: try list.decode(UInt64.self))
        while !list.isAtEnd {
            let value = try list.decode(UInt64.self)
            if let last = values.last, last >= value {
                throw DecodingError.dataCorruptedError(in: list, debugDescription: "the values do not rise")
            }
            values.append(value)
            counts.append(try list.decode(UInt64.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var list = encoder.unkeyedContainer()
        try list.encode(total)
        try list.encode(longest)
        for (value, count) in zip(values, counts) {
            try list.encode(value)
            try list.encode(count)
        }
    }
}

/// Where the time of one host's frames went, from the start of the run on.
public struct HostTimes: Codable, Sendable {
    public struct Module: Codable, Sendable {
        public var name: String
        /// Its steps.
        public var execute: Durations
        /// From when a step was due (its frame's deadline in realtime at the desk, else the release of its phase) to its begin.
        public var start: Durations
        /// Nanoseconds that it has waited, its step made, for the others of its phase.
        public var wait: UInt64

        public init(name: String, execute: Durations, start: Durations, wait: UInt64) {
            self.name = name
            self.execute = execute
            self.start = start
            self.wait = wait
        }
    }
    public struct Peer: Codable, Sendable {
        public var host: String
        /// Nanoseconds spent waiting for its values, and the longest of these waits.
        public var wait, longest: UInt64

        public init(host: String, wait: UInt64, longest: UInt64) {
            self.host = host
            self.wait = wait
            self.longest = longest
        }
    }

    public var host: String
    /// A frame on this host; the same of what it is made of: the longest step of each phase, the exchange with other hosts,
    /// and what remains, wake-ups and delivery.
    public var frame, execute, network, wait: Durations
    public var modules: [Module]
    public var peers: [Peer]
    /// The frames that took longest here, longest first.
    public var slowest: [SlowFrame]

    public init(
        host: String, frame: Durations, execute: Durations, network: Durations, wait: Durations, modules: [Module],
        peers: [Peer], slowest: [SlowFrame]
    ) {
        self.host = host
        self.frame = frame
        self.execute = execute
        self.network = network
        self.wait = wait
        self.modules = modules
        self.peers = peers
        self.slowest = slowest
    }
}

/// A frame that took long on a host, and what took longest in it.
public struct SlowFrame: Codable, Sendable, Equatable {
    public var epoch: UInt32
    public var frame: UInt64
    /// Nanoseconds on this host, and of these in exchange with others.
    public var time, network: UInt64
    /// The longest step, nanoseconds, and whose it was; nil where no module stepped.
    public var step: UInt64
    public var module: String?
    /// The longest wait for another host's values, nanoseconds, and whose they were; nil where none were due.
    public var patience: UInt64
    public var peer: String?

    public init(
        epoch: UInt32, frame: UInt64, time: UInt64, network: UInt64, step: UInt64, module: String?, patience: UInt64,
        peer: String?
    ) {
        self.epoch = epoch
        self.frame = frame
        self.time = time
        self.network = network
        self.step = step
        self.module = module
        self.patience = patience
        self.peer = peer
    }
}
