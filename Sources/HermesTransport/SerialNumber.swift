import Synchronization

/// 1, 2, 3... from any thread.
final class SerialNumber: Sendable {
    private let count = Atomic<Int>(0)
    func next() -> Int { count.add(1, ordering: .relaxed).newValue }
    /// 0 when there was none yet.
    var last: Int { count.load(ordering: .relaxed) }
}
