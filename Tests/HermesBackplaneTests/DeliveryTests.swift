import HermesModel
import HermesPlan
import Testing

@testable import HermesBackplane

@Suite struct DeliveryTests {
    @Test(arguments: 1...60) func aDeliveryReadsEverythingBeforeItWrites(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let count = Int.random(in: 2...80, using: &random), isUniform = seed % 2 == 0
        var sketch = SegmentSketch()
        let types = (0..<count).map { _ in isUniform ? .f64 : SignalType.allCases.randomElement(using: &random)! }
        sketch.module("m", signals: types.enumerated().map { AnnouncedSignal(name: "s\($0)", type: $1) })
        var wires: [(source: Int, destination: Int, gain: Double, offset: Double)] = []
        var taken = Set<Int>()
        for _ in 0..<count {
            let source = Int.random(in: 0..<count, using: &random),
                destination = Int.random(in: 0..<count, using: &random)
            let gain = [1, 1, 1, -2.5, 1e300, .ulpOfOne].randomElement(using: &random)!
            let offset = [0, 0, 0, 0.5, -7].randomElement(using: &random)!
            guard source != destination, taken.insert(destination).inserted else { continue }
            wires.append((source, destination, gain, offset))
            // Neighbours, so that runs come about.
            var step = 1
            while isUniform, max(source, destination) + step < count, taken.insert(destination + step).inserted {
                wires.append((source + step, destination + step, gain, offset))
                step += 1
            }
        }
        for wire in wires {
            sketch.wire("m.s\(wire.source)", "m.s\(wire.destination)", gain: wire.gain, offset: wire.offset)
        }
        let segment = try sketch.segment()
        let before = types.map { $0.randomBits(using: &random) }
        for (slot, bits) in before.enumerated() { segment.slots[slot] = bits }
        var expected = before
        for wire in wires {
            let from = types[wire.source], to = types[wire.destination], bits = before[wire.source]
            expected[wire.destination] =
                from == to && wire.gain == 1 && wire.offset == 0
                ? bits : to.bits(from.number(bits) * wire.gain + wire.offset)
        }
        segment.deliverAll()
        for slot in 0..<count {
            #expect(segment.slots[slot] == expected[slot], "seed \(seed), slot \(slot) of type \(types[slot])")
        }
    }
}

/// The conversion rule once more, from its description.
extension SignalType {
    fileprivate func number(_ bits: UInt64) -> Double {
        switch self {
        case .f64: Double(bitPattern: bits)
        case .f32: Double(Float(bitPattern: UInt32(bits)))
        case .i64: Double(Int64(bitPattern: bits))
        case .i32: Double(Int32(bitPattern: UInt32(bits)))
        case .bool: bits == 0 ? 0 : 1
        }
    }

    fileprivate func bits(_ value: Double) -> UInt64 {
        let whole = value.isNaN ? 0 : value.rounded(.toNearestOrEven)
        switch self {
        case .f64: return value.bitPattern
        case .f32: return UInt64(Float(value).bitPattern)
        case .i64: return UInt64(bitPattern: whole >= 0x1p63 ? .max : whole < -0x1p63 ? .min : Int64(whole))
        case .i32: return UInt64(UInt32(bitPattern: Int32(min(max(whole, -0x1p31), 0x1p31 - 1))))
        case .bool: return value == 0 ? 0 : 1
        }
    }

    fileprivate func randomBits(using random: inout SplitMix) -> UInt64 {
        switch self {
        case .f64, .i64: Bool.random(using: &random) ? random.next() : bits(Double.random(in: -9...9, using: &random))
        case .f32, .i32:
            Bool.random(using: &random) ? random.next() >> 32 : bits(Double.random(in: -9...9, using: &random))
        case .bool: random.next() & 1
        }
    }
}

/// SplitMix64, so that a seed gives the same wires everywhere.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
