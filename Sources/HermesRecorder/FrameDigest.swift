import HermesModel
import HermesPlan
import HermesProtocol

/// One hash over every published signal of every frame of an epoch.
///
/// Each value contributes a mix of its name, frame and bits, and contributions are added: the sum is the same for any
/// placement and any order of arrival. Two sums of 64 bits with different mixes make 128 bits; they tell runs apart,
/// they don't defend against forgery. The mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
public final class FrameDigest: FrameObserver {
    private var signals: [(slot: Int, first: UInt64, second: UInt64)] = []
    private var sums: (UInt64, UInt64) = (0, 0)
    /// What the last completed frame added: equal for equal values.
    private(set) var frameSums: (UInt64, UInt64) = (0, 0)
    /// The digests of the epochs that ended, oldest first.
    public private(set) var endedEpochs: [String] = []
    private var hasBegun = false

    public init() {}

    /// 32 hexadecimal digits for the epoch under way.
    public var text: String { Self.hex(sums.0) + Self.hex(sums.1) }

    public func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) {
        if hasBegun { endedEpochs.append(text) }
        hasBegun = true
        sums = (0, 0)
        signals = plan.registry.publishedInOrder.map { slot in
            let signal = plan.registry.signals[slot]
            let name = Self.hash(signal.name.description, type: signal.type)
            return (slot, name, Self.mix(name ^ 0xD6E8_FEB8_6659_FD93))
        }
    }

    public func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) {
        let tick = Self.mix(frame &+ 0x9E37_79B9_7F4A_7C15)
        var first: UInt64 = 0
        var second: UInt64 = 0
        for signal in signals {
            let bits = slots[signal.slot]
            first = first &+ Self.mix(bits ^ signal.first &+ tick)
            second = second &+ Self.mix(bits &+ signal.second ^ tick)
        }
        frameSums = (first, second)
        sums = (sums.0 &+ first, sums.1 &+ second)
    }

    public func modeChanged(isRealtime: Bool) {}
    public func finish() {}

    private static func hash(_ name: String, type: SignalType) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ UInt64(type.rawValue)
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return mix(hash)
    }

    @inline(__always) private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
