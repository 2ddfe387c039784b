import HermesModel
@testable import HermesPlan
import Testing

@Suite struct DeliveryTests {
    /// `sources` signals of module a, `destinations` of module b, all f64 where no type is given.
    private func sketch(_ sources: [SignalType], _ destinations: [SignalType]) -> Sketch {
        var sketch = Sketch()
        sketch.module("a")
        sketch.module("b")
        for (module, types) in [sources, destinations].enumerated() {
            sketch.announcements[module].signals = types.enumerated().map { AnnouncedSignal(name: "s\($0)", type: $1) }
        }
        return sketch
    }

    @Test func fourNeighboursMakeARun() throws {
        var sketch = sketch(Array(repeating: .f64, count: 10), Array(repeating: .f64, count: 10))
        for (source, destination) in [(6, 2), (3, 6), (4, 7), (5, 8), (2, 5), (9, 9), (7, 3), (8, 4)] {
            sketch.wire("a.s\(source)", "b.s\(destination)")
        }
        let delivery = try sketch.plan().plan.deliveries[0]
        #expect(delivery.runs == [Delivery.Run(source: 2, destination: 15, count: 4)])
        #expect(
            delivery.copies == [
                Delivery.Copy(source: 6, destination: 12), Delivery.Copy(source: 7, destination: 13),
                Delivery.Copy(source: 8, destination: 14), Delivery.Copy(source: 9, destination: 19),
            ])
        #expect(delivery.conversions.isEmpty && !delivery.isStaged && delivery.stageCount == 0)
    }

    @Test func oneSourceForManyIsNoRun() throws {
        var sketch = sketch([.f64], Array(repeating: .f64, count: 6))
        for destination in 0..<6 { sketch.wire("a.s0", "b.s\(destination)") }
        let delivery = try sketch.plan().plan.deliveries[0]
        #expect(delivery.runs.isEmpty && delivery.copies.count == 6)
    }

    @Test func otherTypesGainsAndOffsetsAreConverted() throws {
        var sketch = sketch([.f64, .f64, .f64, .i32, .bool], [.f64, .f64, .f64, .i64, .bool])
        sketch.wire("a.s0", "b.s0", gain: 2)
        sketch.wire("a.s1", "b.s1", offset: 1)
        sketch.wire("a.s2", "b.s2")
        sketch.wire("a.s3", "b.s3")
        sketch.wire("a.s4", "b.s4")
        let delivery = try sketch.plan().plan.deliveries[0]
        #expect(delivery.conversions.map(\.destination) == [5, 6, 8])
        #expect(delivery.copies.map(\.destination) == [7, 9])
    }

    @Test func aChainIsStaged() throws {
        var sketch = sketch([.f64, .f64, .f64], [.f32])
        sketch.wire("a.s0", "a.s1")
        sketch.wire("a.s1", "a.s2")
        sketch.wire("a.s2", "b.s0")
        let delivery = try sketch.plan().plan.deliveries[0]
        #expect(delivery.isStaged && delivery.stageCount == 3)
    }

    @Test(arguments: 1...200) func packedWiresDoWhatTheWiresSay(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let count = Int.random(in: 1...60, using: &random)
        let types = (0..<count).map { _ in SignalType.allCases.randomElement(using: &random)! }
        // Some simulations with neighbours of one type, so that runs come about.
        let isUniform = Bool.random(using: &random)
        var sketch = Sketch()
        sketch.module("a")
        sketch.announcements[0].signals = types.enumerated().map {
            AnnouncedSignal(name: "s\($0)", type: isUniform ? .f64 : $1)
        }
        var wires: [(source: Int, destination: Int, gain: Double)] = []
        var destinations = Set<Int>()
        while wires.count < count / 2 {
            let source = Int.random(in: 0..<count, using: &random),
                destination = Int.random(in: 0..<count, using: &random)
            let length = Int.random(in: 1...9, using: &random)
            let gain: Double = Int.random(in: 0..<5, using: &random) == 0 ? 2 : 1
            for step in 0..<min(length, count - max(source, destination))
            where source != destination && destinations.insert(destination + step).inserted {
                wires.append((source + step, destination + step, gain))
            }
            if destinations.count == count || count < 3 { break }
        }
        for wire in wires.shuffled(using: &random) {
            sketch.wire("a.s\(wire.source)", "a.s\(wire.destination)", gain: wire.gain)
        }
        let plan = try sketch.plan().plan
        let before = (0..<count).map { _ in Double(Int.random(in: -1000...1000, using: &random)) }

        // A value stands for its slot's bits; a conversion is told from a copy by its gain.
        var expected = before
        for wire in wires { expected[wire.destination] = before[wire.source] * wire.gain }
        #expect(carryOut(plan.deliveries[0], before) == expected, "seed \(seed)")
        #expect(carryOut(plan.deliveries[1], before) == expected, "seed \(seed)")
        let wired = plan.registry.signals.indices.filter { plan.registry.signals[$0].isWired }
        #expect(Set(wired) == destinations)
        for conversion in plan.deliveries[0].conversions {
            #expect(conversion.sourceType == plan.registry.signals[conversion.source].type)
            #expect(conversion.destinationType == plan.registry.signals[conversion.destination].type)
        }
    }

    /// Runs, copies, conversions, one after the other; through a stage only where the delivery asks for one.
    private func carryOut(_ delivery: Delivery, _ slots: [Double]) -> [Double] {
        var result = slots
        func read(_ slot: Int) -> Double { delivery.isStaged ? slots[slot] : result[slot] }
        for run in delivery.runs {
            for step in 0..<run.count { result[run.destination + step] = read(run.source + step) }
        }
        for copy in delivery.copies { result[copy.destination] = read(copy.source) }
        for each in delivery.conversions { result[each.destination] = read(each.source) * each.gain + each.offset }
        return result
    }
}
