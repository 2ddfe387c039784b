import HermesModel
import Synchronization

/// Where a run stands, for who looks on from other threads. The frames write words, nobody waits.
public final class RunProgress: Sendable {
    private let frameWord = Atomic<UInt64>(0)
    private let epochWord = Atomic<UInt32>(0)
    private let flags = Atomic<UInt32>(0)
    private let modeWord = Atomic<Int>(0)
    private let stagedAt = Atomic<UInt64>(0)

    public init() {}

    /// The last completed frame of the epoch.
    public var frame: UInt64 { frameWord.load(ordering: .acquiring) }
    public internal(set) var epoch: UInt32 {
        get { epochWord.load(ordering: .relaxed) }
        set { epochWord.store(newValue, ordering: .relaxed) }
    }
    public internal(set) var isPaused: Bool {
        get { flags.load(ordering: .relaxed) & 1 != 0 }
        set { flags.store(newValue ? 1 : 0, ordering: .relaxed) }
    }
    public internal(set) var mode: Execution.Mode {
        get { Execution.Mode.allCases[modeWord.load(ordering: .relaxed)] }
        set { modeWord.store(Execution.Mode.allCases.firstIndex(of: newValue)!, ordering: .relaxed) }
    }
    /// CLOCK_MONOTONIC nanoseconds when staging was over; 0 before.
    public internal(set) var stagedNanoseconds: UInt64 {
        get { stagedAt.load(ordering: .acquiring) }
        set { stagedAt.store(newValue, ordering: .releasing) }
    }
    public var hasStaged: Bool { stagedNanoseconds != 0 }

    func completed(_ frame: UInt64) { frameWord.store(frame, ordering: .releasing) }
}
