import HermesModel
import HermesPlan

/// A random simulation on one to five hosts, and what happens to it: a function of the seed alone.
struct RandomSketch {
    /// A value that somebody outside sets.
    struct Write {
        /// In the whole registry.
        var slot: Int
        var bits: UInt64
    }
    struct Epoch {
        var frames: Int
        /// By frame; it begins with them.
        var writes: [Int: [Write]]
    }

    var sketch = Sketch()
    /// Indices in `sketch.wires` that are not there twice: source and destination in the whole registry.
    private(set) var wires: [(source: Int, destination: Int, gain: Double, offset: Double)] = []
    /// For each signal of the whole registry: its module, its type and its name.
    private(set) var signals: [(module: Int, type: SignalType, name: String)] = []
    /// `--set`: over what the modules say at each start.
    private(set) var overrides: [Write] = []
    private(set) var epochs: [Epoch] = []

    private static let gains: [Double] = [1, 1, 1, 2, -1, 0.1, 1e10, 0, 1.0 / 3]
    private static let offsets: [Double] = [0, 0, 0, -0.0, 0.5, -1, 100.25, -3e9]

    init(seed: UInt64) {
        var random = SplitMix(state: seed)
        let hostCount = Int.random(in: 1...5, using: &random), moduleCount = Int.random(in: 1...9, using: &random)
        sketch.hosts = (1..<hostCount).map { "host\($0)" }
        // Not every simulation has something at the desk.
        let isDeskBusy = hostCount == 1 || random.chance(0.7)
        let places: [String?] = (isDeskBusy ? [nil] : []) + sketch.hosts.map { $0 }
        // Alike neighbours make runs.
        let isUniform = random.chance(0.3)
        for module in 0..<moduleCount {
            let divisor = [1, 1, 1, 2, 3, 5].randomElement(using: &random)!
            sketch.module(
                "m\(module)", host: places.randomElement(using: &random)!,
                rateHz: divisor == 1 ? nil : sketch.rateHz / Double(divisor))
            for index in 0..<Int.random(in: 0...(isUniform ? 14 : 6), using: &random) {
                let type = isUniform ? .f64 : SignalType.allCases.randomElement(using: &random)!
                let direction: AnnouncedSignal.Direction =
                    [.unspecified, .unspecified, .input, .input, .output, .both].randomElement(using: &random)!
                sketch.announcements[module].signals.append(
                    AnnouncedSignal(
                        name: "s\(index)", type: type, writable: random.chance(0.3), direction: direction))
                signals.append((module, type, "m\(module).s\(index)"))
            }
        }
        schedule(&random)
        wire(&random)
        happen(&random)
    }

    private mutating func schedule(_ random: inout SplitMix) {
        guard random.chance(0.9) else { return }
        var left = sketch.modules.map(\.name).shuffled(using: &random)
        let most = random.chance(0.5) ? 1 : left.count
        var phases: [[String]] = []
        while !left.isEmpty {
            let count = Int.random(in: 1...min(most, left.count), using: &random)
            phases.append(Array(left.prefix(count)))
            left.removeFirst(count)
        }
        sketch.schedule = phases
    }

    private mutating func wire(_ random: inout SplitMix) {
        let density = [0.1, 0.5, 0.9].randomElement(using: &random)!
        var source = 0
        for (destination, signal) in signals.enumerated() {
            // Neighbours to neighbours at times.
            source =
                random.chance(0.5) && source + 1 < signals.count
                ? source + 1 : Int.random(in: signals.indices, using: &random)
            let local = destination - signals.firstIndex { $0.module == signal.module }!
            guard sketch.announcements[signal.module].signals[local].direction != .output, source != destination,
                random.chance(density)
            else { continue }
            let isPlain = random.chance(0.6)
            wires.append(
                (
                    source, destination, isPlain ? 1 : Self.gains.randomElement(using: &random)!,
                    isPlain ? 0 : Self.offsets.randomElement(using: &random)!
                ))
        }
        wires.shuffle(using: &random)
        for wire in wires {
            sketch.wire(
                signals[wire.source].name, signals[wire.destination].name, gain: wire.gain, offset: wire.offset)
        }
    }

    private mutating func happen(_ random: inout SplitMix) {
        let wired = Set(wires.map(\.destination))
        let open = signals.indices.filter { !wired.contains($0) }
        func writes(_ random: inout SplitMix, most: Int) -> [Write] {
            open.shuffled(using: &random).prefix(Int.random(in: 0...most, using: &random)).map {
                Write(slot: $0, bits: Arithmetic.value(random.next(), signals[$0].type))
            }
        }
        overrides = writes(&random, most: 3)
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let frames = Int.random(in: 0...9, using: &random)
            var written: [Int: [Write]] = [:]
            for frame in 0..<frames where random.chance(0.3) { written[frame + 1] = writes(&random, most: 4) }
            epochs.append(Epoch(frames: frames, writes: written))
        }
    }

    /// The host of each module, by its place among the desk and those named hosts that have modules.
    func hostIndices() -> [Int] {
        let busy = sketch.hosts.filter { host in sketch.modules.contains { $0.host == host } }
        return sketch.modules.map { module in module.host.map { busy.firstIndex(of: $0)! + 1 } ?? 0 }
    }
}
