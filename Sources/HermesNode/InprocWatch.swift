import Glibc
import HermesProtocol
import HermesSystem
import Synchronization

/// Watches the modules that run inside the node. Nobody can take the thread back from one that hangs, so the only way out
/// is to say who it is and end the process; the keeper then gives the other modules their second and clears up.
final class InprocWatch: Sendable {
    /// Which module is being called, and the how manieth call it is; 0 between calls. One store before and one after.
    private let call = Atomic<UInt64>(0)
    private let isOver = Atomic<Bool>(false)
    private let timeouts: [(start: Double, step: Double)]
    private let onHalf: @Sendable (_ module: Int) -> Void
    private let onStuck: @Sendable (_ module: Int, _ seconds: Double, _ isStart: Bool) -> Void

    /// - Parameter timeouts: seconds by module index; 0 for ever.
    init(
        timeouts: [(start: Double, step: Double)], onHalf: @escaping @Sendable (Int) -> Void,
        onStuck: @escaping @Sendable (Int, Double, Bool) -> Void
    ) {
        self.timeouts = timeouts
        self.onHalf = onHalf
        self.onStuck = onStuck
    }

    @inline(__always) func enter(_ module: Int, _ count: UInt64) {
        call.store(count << 21 | UInt64(module + 1), ordering: .relaxed)
    }
    /// The same for a call that is part of a start.
    func enterStart(_ module: Int, _ count: UInt64) {
        call.store(count << 21 | Self.isStart | UInt64(module + 1), ordering: .relaxed)
    }
    private static let isStart: UInt64 = 1 << 20
    @inline(__always) func leave() { call.store(0, ordering: .relaxed) }

    /// The module being called at this moment.
    var current: Int? {
        let now = call.load(ordering: .relaxed)
        return now == 0 ? nil : Int(now & 0xFFFFF) - 1
    }

    func start() throws(SystemError) { try startDetachedThread("watching modules of type inproc") { [self] in run() } }

    func stop() { isOver.store(true, ordering: .relaxed) }

    /// A look every tenth of a second: the frame path pays for no clock.
    private func run() {
        var seen: UInt64 = 0, since: UInt64 = 0, hasWarned = false
        while !isOver.load(ordering: .relaxed) {
            usleep(100_000)
            let now = call.load(ordering: .relaxed)
            if now == 0 || now != seen {
                seen = now
                since = monotonicNow()
                hasWarned = false
                continue
            }
            let module = Int(now & 0xFFFFF) - 1, isStart = now & Self.isStart != 0
            let limit = isStart ? timeouts[module].start : timeouts[module].step
            let waited = Double(monotonicNow() - since) / 1e9
            if limit > 0 && waited >= limit { return onStuck(module, limit, isStart) }
            if limit > 0 && waited >= limit / 2 && !hasWarned {
                hasWarned = true
                onHalf(module)
            }
        }
    }
}
