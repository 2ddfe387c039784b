import Glibc
import HermesModel
import Synchronization

/// Where a run stands, for who looks on from other threads. The frames write words, nobody waits.
public final class RunProgress: Sendable {
    /// Complete frames of the epoch, frame 0 among them; 0 before it.
    private let count = Atomic<UInt64>(0)
    private let epochWord = Atomic<UInt32>(0)
    /// Complete frames of the epoch before this one.
    private let earlierCount = Atomic<UInt64>(0)
    /// Odd while one epoch gives way to the next.
    private let epochTurn = Atomic<UInt32>(0)
    private let flags = Atomic<UInt32>(0)
    private let modeWord = Atomic<Int>(0)
    private let stagedAt = Atomic<UInt64>(0)
    /// Somebody sleeps on `moved` until there is another frame.
    private let isAwaited = Atomic<Bool>(false)
    private nonisolated(unsafe) let moved = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    public init() { sem_init(moved, 0, 0) }

    deinit {
        sem_destroy(moved)
        moved.deallocate()
    }

    /// The last completed frame of the epoch.
    public var frame: UInt64 { max(count.load(ordering: .acquiring), 1) - 1 }
    public var epoch: UInt32 { epochWord.load(ordering: .relaxed) }
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

    // MARK: Frames, written by their thread

    func completed(_ frame: UInt64) {
        // In one order with `isAwaited`: who goes to sleep says so, then looks; one of the two sees the other.
        count.store(frame + 1, ordering: .sequentiallyConsistent)
        if isAwaited.load(ordering: .sequentiallyConsistent) { wake() }
    }

    /// Frame 0 of an epoch that a reset opened.
    func begin(epoch: UInt32) {
        epochTurn.add(1, ordering: .sequentiallyConsistent)
        earlierCount.store(count.load(ordering: .relaxed), ordering: .relaxed)
        epochWord.store(epoch, ordering: .relaxed)
        count.store(1, ordering: .relaxed)
        epochTurn.add(1, ordering: .sequentiallyConsistent)
        if isAwaited.load(ordering: .sequentiallyConsistent) { wake() }
    }

    // MARK: Frames, followed by one other thread

    /// How many frames of an epoch are complete, and how many were of the one before.
    struct Position: Equatable {
        var epoch: UInt32 = 0
        var count: UInt64 = 0
        var earlierCount: UInt64 = 0
    }

    var position: Position {
        while true {
            let turn = epochTurn.load(ordering: .acquiring)
            let position = Position(
                epoch: epochWord.load(ordering: .relaxed), count: count.load(ordering: .sequentiallyConsistent),
                earlierCount: earlierCount.load(ordering: .relaxed))
            atomicMemoryFence(ordering: .acquiring)
            if turn % 2 == 0 && epochTurn.load(ordering: .relaxed) == turn { return position }
        }
    }

    /// Sleeps until frames have moved on from `seen` or somebody calls `wake`.
    func sleep(seen: Position) {
        isAwaited.store(true, ordering: .sequentiallyConsistent)
        if position == seen { sleep() }
    }

    /// Sleeps until somebody calls `wake`, or no longer than that.
    func sleep() { while sem_wait(moved) != 0 && errno == EINTR {} }

    func wake() {
        isAwaited.store(false, ordering: .relaxed)
        sem_post(moved)
    }
}
