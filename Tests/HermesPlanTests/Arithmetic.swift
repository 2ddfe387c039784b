import HermesModel

/// What values do on their way, by section 2 of the contract, and what modules make of them.
enum Arithmetic {
    /// f64(source) * gain, rounded, + offset, rounded, then the destination's type; a copy where nothing is converted.
    static func convert(
        _ bits: UInt64, from source: SignalType, to destination: SignalType, gain: Double, offset: Double
    ) -> UInt64 {
        if source == destination && gain == 1 && offset == 0 { return bits }
        let product = real(bits, source) * gain
        return slot(product + offset, destination)
    }

    private static func real(_ bits: UInt64, _ type: SignalType) -> Double {
        switch type {
        case .f64: Double(bitPattern: bits)
        case .f32: Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
        case .i64: Double(Int64(bitPattern: bits))
        case .i32: Double(Int32(truncatingIfNeeded: bits))
        case .bool: bits == 0 ? 0 : 1
        }
    }

    private static func slot(_ value: Double, _ type: SignalType) -> UInt64 {
        func whole<Whole: FixedWidthInteger>(_: Whole.Type) -> Whole {
            if value.isNaN { return 0 }
            let rounded = value.rounded(.toNearestOrEven)
            return Whole(exactly: rounded) ?? (rounded < 0 ? .min : .max)
        }
        switch type {
        case .f64: return value.bitPattern
        case .f32: return UInt64(Float(value).bitPattern)
        case .i64: return UInt64(bitPattern: whole(Int64.self))
        case .i32: return UInt64(UInt32(bitPattern: whole(Int32.self)))
        case .bool: return value != 0 || value.isNaN ? 1 : 0
        }
    }

    /// Some value of a type for any 64 bits: mostly tame, at times at a limit.
    static func value(_ random: UInt64, _ type: SignalType) -> UInt64 {
        let limits: [Double] = [
            .nan, .infinity, -.infinity, -0.0, 1e300, .leastNonzeroMagnitude, 9.3e18, -2_147_483_648.5,
        ]
        switch type {
        case .f64 where random % 16 == 0: return limits[Int(random >> 4) % limits.count].bitPattern
        case .f64, .f32: return slot(Double(Int32(truncatingIfNeeded: random >> 24)) / 1024, type)
        case .i64: return random
        case .i32: return UInt64(UInt32(truncatingIfNeeded: random))
        case .bool: return random & 1
        }
    }

    /// What a module's stage says of a signal.
    static func start(slot: Int, _ type: SignalType) -> UInt64 { value(SplitMix.mix(UInt64(slot) &+ 77), type) }

    /// A module's step as a pure function of its slots: `slots` with new values for those that no wire drives.
    static func step(_ slots: [UInt64], types: [SignalType], wired: [Bool], module: Int, dt: Double) -> [UInt64] {
        var seen = SplitMix.mix(UInt64(module)) ^ dt.bitPattern
        for bits in slots { seen = SplitMix.mix(seen ^ bits &+ 0x9E37_79B9_7F4A_7C15) }
        return slots.indices.map { index in
            let draw = SplitMix.mix(seen &+ UInt64(index))
            // A parameter, that keeps its value, now and then.
            return wired[index] || (module + index) % 4 == 0 ? slots[index] : value(draw, types[index])
        }
    }
}
