/// The few frames that took longest, of all that it is shown; memory is taken once.
public struct SlowestFrames<Detail> {
    public static var capacity: Int { 8 }

    private var entries: [(time: UInt64, detail: Detail)] = []
    /// What a frame has to pass to be kept.
    public private(set) var bound: UInt64 = 0

    public init() { entries.reserveCapacity(Self.capacity) }

    /// - Parameter time: nanoseconds, more than `bound`.
    public mutating func keep(_ time: UInt64, _ detail: Detail) {
        if entries.count < Self.capacity {
            entries.append((time, detail))
        } else {
            var least = 0
            for index in 1..<entries.count where entries[index].time < entries[least].time { least = index }
            entries[least] = (time, detail)
        }
        guard entries.count == Self.capacity else { return }
        bound = .max
        for entry in entries where entry.time < bound { bound = entry.time }
    }

    /// Longest first.
    public var sorted: [(time: UInt64, detail: Detail)] { entries.sorted { $0.time > $1.time } }
}
