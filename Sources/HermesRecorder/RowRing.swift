import Glibc
import Synchronization

/// Rows of numbers from the thread that runs the frames to the one that writes them: one producer, one consumer, no lock.
final class RowRing: @unchecked Sendable {
    let width: Int
    let capacity: Int
    private let rowsAWake: Int
    private let memory: UnsafeMutablePointer<UInt64>
    private let head = Atomic<Int>(0)  // rows taken
    private let tail = Atomic<Int>(0)  // rows given
    /// Posted when a row is worth waking for; waited on with a time limit.
    private let filled = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let emptied = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let producerWaits = Atomic<Bool>(false)

    /// - Parameters:
    ///   - width: 8-byte numbers in a row.
    ///   - bytes: about as much memory as it may take; at least 64 rows.
    ///   - rowsAWake: after so many the consumer is woken; by default when half of the room is used.
    init(width: Int, bytes: Int, rowsAWake: Int = .max) {
        self.width = width
        self.rowsAWake = rowsAWake
        capacity = max(64, bytes / (8 * width))
        memory = .allocate(capacity: capacity * width)
        // Every page is there before the first frame.
        memory.initialize(repeating: 0, count: capacity * width)
        sem_init(filled, 0, 0)
        sem_init(emptied, 0, 0)
    }

    deinit {
        sem_destroy(filled)
        sem_destroy(emptied)
        filled.deallocate()
        emptied.deallocate()
        memory.deallocate()
    }

    /// Producer: gives a row, false when the ring is full.
    func give(_ fill: (UnsafeMutablePointer<UInt64>) -> Void) -> Bool {
        let tail = tail.load(ordering: .relaxed)
        let used = tail - head.load(ordering: .acquiring)
        guard used < capacity else { return false }
        fill(memory + (tail % capacity) * width)
        self.tail.store(tail + 1, ordering: .releasing)
        // The consumer looks by itself a few times a second.
        if used == capacity / 2 || (tail + 1) % rowsAWake == 0 { sem_post(filled) }
        return true
    }

    /// Producer: sleeps until there is room again or a moment has passed.
    func waitForRoom() {
        producerWaits.store(true, ordering: .sequentiallyConsistent)
        sem_post(filled)
        if tail.load(ordering: .relaxed) - head.load(ordering: .sequentiallyConsistent) >= capacity {
            emptied.wait(milliseconds: 20)
        }
        producerWaits.store(false, ordering: .relaxed)
    }

    /// Consumer: sleeps until there are rows to be woken for, `wake` was called or the time has passed.
    func waitForRows(milliseconds: Int) { filled.wait(milliseconds: milliseconds) }
    func wake() { sem_post(filled) }

    /// Consumer: takes all rows there are, one after the other.
    func takeAll(_ body: (UnsafePointer<UInt64>) -> Void) {
        let tail = tail.load(ordering: .acquiring)
        var head = head.load(ordering: .relaxed)
        while head < tail {
            body(memory + (head % capacity) * width)
            head += 1
            // Room is given back in steps, so a waiting producer does not run against a full ring row by row.
            if head == tail || head % max(1, capacity / 4) == 0 { giveBack(head) }
        }
    }

    private func giveBack(_ head: Int) {
        self.head.store(head, ordering: .sequentiallyConsistent)
        if producerWaits.load(ordering: .sequentiallyConsistent) { sem_post(emptied) }
    }
}

/// The header hides it behind _GNU_SOURCE: a wait that a change of the wall clock neither cuts short nor prolongs.
@_silgen_name("sem_clockwait")
private func sem_clockwait(
    _ semaphore: UnsafeMutablePointer<sem_t>, _ clock: clockid_t, _ limit: UnsafePointer<timespec>
) -> Int32

extension UnsafeMutablePointer<sem_t> {
    /// False when the time has passed first.
    @discardableResult
    func wait(milliseconds: Int) -> Bool {
        var limit = timespec()
        clock_gettime(CLOCK_MONOTONIC, &limit)
        limit.tv_nsec += milliseconds * 1_000_000
        limit.tv_sec += limit.tv_nsec / 1_000_000_000
        limit.tv_nsec %= 1_000_000_000
        while sem_clockwait(self, CLOCK_MONOTONIC, &limit) != 0 { if errno != EINTR { return false } }
        return true
    }
}
