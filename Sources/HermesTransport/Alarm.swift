import Glibc
import Synchronization

/// Wakes a thread that sleeps on sockets: a descriptor that becomes readable once and stays so.
public final class Alarm: Sendable {
    private let ends: (read: Int32, write: Int32)
    private let raised = Atomic<Bool>(false)

    public init() {
        var pair: [Int32] = [-1, -1]
        let code = pipe(&pair)
        precondition(code == 0, "no descriptors are left")
        for end in pair { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        ends = (pair[0], pair[1])
    }

    deinit {
        close(ends.read)
        close(ends.write)
    }

    public var descriptor: Int32 { ends.read }
    public var isRaised: Bool { raised.load(ordering: .acquiring) }

    /// From any thread.
    public func raise() {
        guard !raised.exchange(true, ordering: .acquiringAndReleasing) else { return }
        var byte: UInt8 = 1
        write(ends.write, &byte, 1)
    }
}
