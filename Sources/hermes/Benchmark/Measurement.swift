/// How long something took in each of many frames, in microseconds.
struct FrameTimes: Sendable, Equatable {
    var mean, p50, p99, p999, max: Double
}

/// One round of one shape by one of those who are compared.
struct Measurement: Sendable {
    /// From one step of the first module to its next.
    var times: FrameTimes
    /// In realtime: how late frames began.
    var lateness: FrameTimes?
    /// Microseconds of processor time a frame: all modules together, all nodes together, and the coordinator where it has a
    /// process of its own. Nil where nothing is known of it.
    var modulesCPU, nodesCPU, coordinatorCPU: Double?
    /// How often a frame had a thread of modules or nodes go to sleep.
    var switches: Double?

    var framesPerSecond: Double { times.mean > 0 ? 1e6 / times.mean : 0 }

    var cpu: Double? {
        guard modulesCPU != nil || nodesCPU != nil else { return nil }
        return (modulesCPU ?? 0) + (nodesCPU ?? 0) + (coordinatorCPU ?? 0)
    }
}

/// Everything measured of one shape, round by round, all who are compared in turns.
struct BenchmarkPoint: Sendable {
    var shape: BenchmarkShape
    /// Of Hermes in each round.
    var frames = 0
    var floorName = ""
    var hermes: [Measurement] = []
    var floor: [Measurement] = []
    var helics: [Measurement] = []
    /// A frame; nil where they could not be counted.
    var systemCalls: Double?

    /// What the rounds of one contestant come to: the median of each number, and the longest frame of all.
    static func times(_ rounds: [FrameTimes]) -> FrameTimes? {
        guard let longest = rounds.map(\.max).max() else { return nil }
        return FrameTimes(
            mean: median(rounds.map(\.mean)), p50: median(rounds.map(\.p50)), p99: median(rounds.map(\.p99)),
            p999: median(rounds.map(\.p999)), max: longest)
    }

    /// The rounds' own ratios, and of these the median: a machine that is busy for a while slows both sides of one.
    static func ratio(_ above: [Double], _ below: [Double]) -> Double? {
        let ratios = zip(above, below).filter { $1 > 0 }.map { $0 / $1 }
        return ratios.isEmpty ? nil : median(ratios)
    }

    static func median(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted(), middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// Of what every round knows; nil where one does not.
    static func median(_ values: [Double?]) -> Double? {
        let known = values.compactMap { $0 }
        return known.isEmpty || known.count < values.count ? nil : median(known)
    }
}

/// The lines that hermes-bench-module prints: `hermes-bench KIND key=value...`, whatever stands before them.
struct BenchmarkReport {
    private var times: [String: FrameTimes] = [:]
    private var cpu: [String: Double] = [:]
    private var switches: [String: Double] = [:]

    init(_ text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            guard let place = line.firstRange(of: "hermes-bench ") else { continue }
            let words = line[place.upperBound...].split(separator: " ")
            guard let kind = words.first else { continue }
            var values: [Substring: Double] = [:]
            for word in words.dropFirst() {
                guard let equals = word.firstIndex(of: "=") else { continue }
                values[word[..<equals]] = Double(word[word.index(after: equals)...])
            }
            take(String(kind), values)
        }
    }

    private mutating func take(_ kind: String, _ values: [Substring: Double]) {
        if kind.hasPrefix("usage-"), let frames = values["frames"], frames > 0 {
            let who = String(kind.dropFirst("usage-".count))
            cpu[who, default: 0] += (values["cpu_ns"] ?? 0) / frames / 1e3
            switches[who, default: 0] += (values["switches"] ?? 0) / frames
        } else if let count = values["count"], count > 0 {
            func microseconds(_ key: Substring) -> Double { (values[key] ?? 0) / 1e3 }
            times[kind] = FrameTimes(
                mean: microseconds("mean_ns"), p50: microseconds("p50_ns"), p99: microseconds("p99_ns"),
                p999: microseconds("p999_ns"), max: microseconds("max_ns"))
        }
    }

    /// Nil when no times of frames were told.
    var measurement: Measurement? {
        times["times"].map {
            Measurement(
                times: $0, lateness: times["lateness"], modulesCPU: cpu["module"], nodesCPU: cpu["node"],
                switches: switches.isEmpty ? nil : switches.values.reduce(0, +))
        }
    }
}
