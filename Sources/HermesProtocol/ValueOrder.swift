/// Values that an outsider wants to see or to set, sorted by host ahead of the edge at which that is done. What is left to
/// do there is to copy 8 bytes a value.
public final class ValueOrder: @unchecked Sendable {
    /// What one host has of it.
    public struct Part: Sendable {
        /// Index in the plan's hosts; 0: the desk.
        public var host: Int
        /// The host's own slots.
        public var slots: [Int]
        /// Where each stands in `bits`.
        public var places: [Int]
        /// The message that asks another host, behind its header.
        public var message: [UInt8]

        public init(host: Int, slots: [Int] = [], places: [Int] = [], message: [UInt8] = []) {
            self.host = host
            self.slots = slots
            self.places = places
            self.message = message
        }
    }

    /// Unlike that of every other order of the run.
    public let number: UInt64
    public let parts: [Part]
    /// The desk's part by its own slots, where other hosts have some.
    public let own: ValueOrder?
    /// Indices in the registry, as they were asked for.
    public let signals: [Int]
    /// In the same order: what to set, or what was seen. The memory is there from the start; one thread after another has it.
    public var bits: [UInt64]

    public init(_ signals: [Int], writing values: [UInt64]?, parts: [Part], number: UInt64 = 0, own: ValueOrder? = nil)
    {
        self.number = number
        self.parts = parts
        self.own = own
        self.signals = signals
        bits = values ?? Array(repeating: 0, count: signals.count)
    }

    /// What was asked for, from slots of which `signals` are the indices.
    public func take(from slots: UnsafePointer<UInt64>) {
        bits.withUnsafeMutableBufferPointer { bits in
            for (place, slot) in signals.enumerated() { bits[place] = slots[slot] }
        }
    }

    /// What is to be set, into such slots.
    public func store(into slots: UnsafeMutablePointer<UInt64>) {
        bits.withUnsafeBufferPointer { bits in
            for (place, slot) in signals.enumerated() { slots[slot] = bits[place] }
        }
    }

    /// Of the only host, whose slots are the signals.
    public convenience init(_ signals: [Int], writing values: [UInt64]?) {
        self.init(
            signals, writing: values, parts: [Part(host: 0, slots: signals, places: Array(signals.indices))])
    }
}

/// What of an order travels to another host and back behind the 32 bytes, little-endian (docs/protocol.md).
public enum ValueBytes {
    /// `sample`: a u32 a slot.
    public static func sample(_ slots: [Int]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 * slots.count)
        for slot in slots { append(UInt32(truncatingIfNeeded: slot), to: &bytes) }
        return bytes
    }

    /// `write`: a u64 a value, then a u32 for the slot of each.
    public static func write(_ slots: [Int], _ bits: [UInt64]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(12 * slots.count)
        for value in bits { append(value, to: &bytes) }
        for slot in slots { append(UInt32(truncatingIfNeeded: slot), to: &bytes) }
        return bytes
    }

    /// Nil for what is no `sample` of `count` slots below `limit`.
    public static func sampled(_ payload: UnsafeRawBufferPointer, count: UInt32, below limit: Int) -> [Int]? {
        guard payload.count == 4 * Int(count) else { return nil }
        return slots(payload, below: limit)
    }

    /// Nil for what is no `write` of `count` values for slots below `limit`.
    public static func written(
        _ payload: UnsafeRawBufferPointer, count: UInt32, below limit: Int
    ) -> (slots: [Int], bits: [UInt64])? {
        let count = Int(count)
        guard payload.count == 12 * count,
            let slots = slots(UnsafeRawBufferPointer(rebasing: payload[(8 * count)...]), below: limit)
        else { return nil }
        let bits = (0..<count).map {
            UInt64(littleEndian: payload.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self))
        }
        return (slots, bits)
    }

    private static func slots(_ bytes: UnsafeRawBufferPointer, below limit: Int) -> [Int]? {
        var slots: [Int] = []
        slots.reserveCapacity(bytes.count / 4)
        for offset in stride(from: 0, to: bytes.count, by: 4) {
            let slot = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            guard slot < limit else { return nil }
            slots.append(slot)
        }
        return slots
    }

    private static func append<Word: FixedWidthInteger>(_ word: Word, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
    }
}
