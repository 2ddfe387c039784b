import HermesModel
import HermesPlan
import HermesProtocol

/// Holds a second run against a first one, frame by frame. Give `firstRun` to one and `secondRun` to the other.
///
/// Of every frame of the first run a digest is kept, and its values as far as a bounded file holds them: those name the
/// signals. The second run is ended at the first frame that differs.
public final class RunComparison {
    public struct Difference: Sendable {
        public struct Value: Sendable {
            public var name: String
            public var type: SignalType
            public var first, second: UInt64
        }
        public var frame: UInt64
        /// Published signals that differ, ordered by name; empty when the first run's values were not kept so far.
        public var values: [Value]
    }

    public let firstRun: any FrameObserver
    public let secondRun: any FrameObserver
    private let first: FirstRun
    private let second: SecondRun

    /// - Parameters:
    ///   - folder: for the file of values.
    ///   - bytes: how much of it at most.
    public init(folder: String, bytes: Int = 1 << 30) {
        first = FirstRun(folder: folder, bytes: bytes)
        second = SecondRun(first: first)
        firstRun = first
        secondRun = second
    }

    /// Nil while no frame differed.
    public var difference: Difference? { second.difference }
    public var digests: (first: String, second: String) { (first.digest.text, second.digest.text) }
    /// Modules that run beside the frames: what they set comes when it comes.
    public var freeModules: [String] { first.freeModules }
}

private final class FirstRun: FrameObserver {
    let digest = FrameDigest()
    private(set) var sums: [(UInt64, UInt64)] = []
    private(set) var rows: RowFile?
    private(set) var freeModules: [String] = []
    private let folder: String
    private let bytes: Int
    private var slotsInOrder: [Int] = []

    init(folder: String, bytes: Int) {
        self.folder = folder
        self.bytes = bytes
    }

    func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws {
        try refuseReset(epoch)
        digest.begin(plan, epoch: epoch, isRealtime: isRealtime)
        slotsInOrder = plan.registry.publishedInOrder
        freeModules = plan.modules.filter(\.isFree).map(\.name)
        rows = try RowFile(folder: folder, width: slotsInOrder.count, bytes: bytes)
    }

    func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) {
        digest.completed(frame: frame, time: time, slots: slots)
        sums.append(digest.frameSums)
        rows?.append(slotsInOrder.map { slots[$0] })
    }

    func modeChanged(isRealtime: Bool) {}
    func finish() {}
}

private final class SecondRun: FrameObserver {
    let digest = FrameDigest()
    private let first: FirstRun
    private var signals: [(slot: Int, signal: Signal)] = []
    private(set) var difference: RunComparison.Difference?

    init(first: FirstRun) { self.first = first }

    func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws {
        try refuseReset(epoch)
        digest.begin(plan, epoch: epoch, isRealtime: isRealtime)
        signals = plan.registry.publishedInOrder.map { ($0, plan.registry.signals[$0]) }
    }

    func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) throws {
        digest.completed(frame: frame, time: time, slots: slots)
        guard frame < first.sums.count, first.sums[Int(frame)] != digest.frameSums else { return }
        let row = first.rows?.row(Int(frame))
        let values = row.map { zip(signals, $0) }?.compactMap { entry, bits -> RunComparison.Difference.Value? in
            guard slots[entry.slot] != bits else { return nil }
            return RunComparison.Difference.Value(
                name: entry.signal.name.description, type: entry.signal.type, first: bits, second: slots[entry.slot])
        }
        difference = RunComparison.Difference(frame: frame, values: values ?? [])
        throw RunFailure(.refused, frame: frame, cause: "differs from the first run")
    }

    func modeChanged(isRealtime: Bool) {}
    func finish() {}
}

private func refuseReset(_ epoch: UInt32) throws {
    if epoch > 0 { throw RunFailure(.refused, cause: "a reset came in the middle of the comparison") }
}
