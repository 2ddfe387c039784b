import HermesSystem
import Synchronization

/// Raised once, and stays so: tells threads that wait for others to give up. It can be polled as a descriptor, and it calls
/// whoever sleeps on something else.
public final class Alarm: Sendable {
    private let pipe: WakePipe
    private let raised = Atomic<Bool>(false)
    private let calls = Mutex<[@Sendable () -> Void]>([])

    /// - Throws: `SystemError` when no descriptors are left.
    public init() throws(SystemError) { pipe = try WakePipe() }

    public var descriptor: Int32 { pipe.descriptor }
    public var isRaised: Bool { raised.load(ordering: .acquiring) }

    /// What else to call when it is raised, at once if it is. It may be called when nobody needs it any more.
    func onRaise(_ body: @escaping @Sendable () -> Void) {
        calls.withLock { $0.append(body) }
        if isRaised { body() }
    }

    /// From any thread.
    public func raise() {
        guard !raised.exchange(true, ordering: .acquiringAndReleasing) else { return }
        pipe.wake()
        calls.withLock { $0 }.forEach { $0() }
    }
}
