import HermesModel

/// Section 2 of the contract on one host, from the sketch alone: no plan is asked.
struct OneHost {
    private let random: RandomSketch
    private let schedule: [[Int]]
    private let divisors: [Int]
    private let types: [SignalType]
    private let wired: [Bool]
    private(set) var slots: [UInt64]

    init(_ random: RandomSketch) {
        self.random = random
        let sketch = random.sketch, names = sketch.modules.map(\.name)
        schedule = (sketch.schedule ?? [names]).map { $0.map { names.firstIndex(of: $0)! } }
        divisors = sketch.modules.map { $0.rateHz.map { Int((sketch.rateHz / $0).rounded()) } ?? 1 }
        types = random.signals.map(\.type)
        let destinations = Set(random.wires.map(\.destination))
        wired = types.indices.map { destinations.contains($0) }
        slots = Array(repeating: 0, count: types.count)
    }

    /// For each epoch a row of all signals for each frame, frame 0 included.
    mutating func run() -> [[[UInt64]]] {
        random.epochs.map { epoch in
            start()
            return [slots]
                + (0..<epoch.frames).map { frame in
                    step(frame: frame + 1, epoch.writes[frame + 1] ?? [])
                    return slots
                }
        }
    }

    private mutating func start() {
        for slot in slots.indices { slots[slot] = Arithmetic.start(slot: slot, types[slot]) }
        for write in random.overrides { slots[write.slot] = write.bits }
        deliver(fromModules: Array(divisors.indices))
    }

    private mutating func step(frame: Int, _ writes: [RandomSketch.Write]) {
        for write in writes { slots[write.slot] = write.bits }
        for phase in schedule {
            for module in phase where (frame - 1) % divisors[module] == 0 { stepModule(module) }
            deliver(fromModules: phase)
        }
    }

    private mutating func stepModule(_ module: Int) {
        let own = random.signals.indices.filter { random.signals[$0].module == module }
        let new = Arithmetic.step(
            own.map { slots[$0] }, types: own.map { types[$0] }, wired: own.map { wired[$0] }, module: module,
            dt: Double(divisors[module]) / random.sketch.rateHz)
        for (slot, bits) in zip(own, new) { slots[slot] = bits }
    }

    private mutating func deliver(fromModules modules: [Int]) {
        let before = slots
        for wire in random.wires where modules.contains(random.signals[wire.source].module) {
            slots[wire.destination] = Arithmetic.convert(
                before[wire.source], from: types[wire.source], to: types[wire.destination], gain: wire.gain,
                offset: wire.offset)
        }
    }
}
