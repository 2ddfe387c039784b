import HermesProtocol

/// The last of what happened: room for so many events, taken once; then the oldest make room for the newest. One thread
/// adds, without allocating; the same one reads.
public final class TraceRing: @unchecked Sendable {
    public static let standardCapacity = 1 << 16

    private let room: UnsafeMutablePointer<TraceEvent>
    private let capacity: Int
    /// All that were ever added.
    public private(set) var count: UInt64 = 0

    /// - Parameter capacity: a power of two.
    public init(capacity: Int = TraceRing.standardCapacity) {
        precondition(capacity > 0 && capacity & (capacity - 1) == 0, "rings turn by masks")
        self.capacity = capacity
        room = .allocate(capacity: capacity)
        // Touched now, so that no frame waits for its page.
        room.initialize(
            repeating: TraceEvent(.frame, begin: 0, end: 0, frame: 0, epoch: 0), count: capacity)
    }

    deinit { room.deallocate() }

    public func add(_ event: TraceEvent) {
        room[Int(truncatingIfNeeded: count) & (capacity - 1)] = event
        count &+= 1
    }

    /// Those that had to make room.
    public var lost: UInt64 { count > UInt64(capacity) ? count - UInt64(capacity) : 0 }

    /// Oldest first.
    public var events: [TraceEvent] {
        let held = Int(count - lost), first = Int(truncatingIfNeeded: lost)
        return [TraceEvent](unsafeUninitializedCapacity: held) { target, filled in
            for index in 0..<held {
                (target.baseAddress! + index).initialize(to: room[(first + index) & (capacity - 1)])
            }
            filled = held
        }
    }
}
