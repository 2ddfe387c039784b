import Glibc
import Synchronization

/// Raised once, and stays so: tells threads that wait for others to give up. It can be polled as a descriptor, and it calls
/// whoever sleeps on something else.
public final class Alarm: Sendable {
    private let ends: (read: Int32, write: Int32)
    private let raised = Atomic<Bool>(false)
    private let calls = Mutex<[@Sendable () -> Void]>([])

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

    /// What else to call when it is raised, at once if it is. It may be called when nobody needs it any more.
    func onRaise(_ body: @escaping @Sendable () -> Void) {
        calls.withLock { $0.append(body) }
        if isRaised { body() }
    }

    /// From any thread.
    public func raise() {
        guard !raised.exchange(true, ordering: .acquiringAndReleasing) else { return }
        var byte: UInt8 = 1
        write(ends.write, &byte, 1)
        calls.withLock { $0 }.forEach { $0() }
    }
}
