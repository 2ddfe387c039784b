import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem

/// A run that others are held against. Of every frame a digest is kept, and its values as far as a bounded file holds
/// them: those name the signals.
public final class ReferenceRun: FrameObserver {
    private let folder: ByteString
    private let bytes: Int
    private let sum = FrameDigest()
    private var slotsInOrder: [Int] = []
    fileprivate private(set) var signals: [Signal] = []
    fileprivate private(set) var sums: [(UInt64, UInt64)] = []
    fileprivate private(set) var rows: RowFile?
    /// Modules that run beside the frames: what they set comes when it comes.
    public private(set) var freeModules: [String] = []

    /// - Parameters:
    ///   - folder: for the file of values.
    ///   - bytes: how much of it at most.
    public init(folder: ByteString, bytes: Int = 1 << 30) {
        self.folder = folder
        self.bytes = bytes
    }

    public var digest: String { sum.text }

    public func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws {
        try refuseReset(epoch)
        sum.begin(plan, epoch: epoch, isRealtime: isRealtime)
        slotsInOrder = plan.registry.publishedInOrder
        signals = slotsInOrder.map { plan.registry.signals[$0] }
        freeModules = plan.modules.filter(\.isFree).map(\.name)
        rows = try RowFile(folder: folder, width: slotsInOrder.count, bytes: bytes)
    }

    public func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) {
        sum.completed(frame: frame, time: time, slots: slots)
        sums.append(sum.frameSums)
        rows?.append(slotsInOrder.map { slots[$0] })
    }

    public func modeChanged(isRealtime: Bool) {}
    public func finish() {}
}

/// Holds a run against an earlier one, frame by frame, and ends it at the first frame that differs.
public final class RunComparison: FrameObserver {
    public struct Difference: Sendable {
        public struct Value: Sendable {
            public var name: String
            public var type: SignalType
            public var first, second: UInt64
        }
        public var frame: UInt64
        /// Published signals that differ, ordered by name; empty when the first run's values were not kept so far.
        public var values: [Value] = []
        /// Published signals that only one of the runs has, or has in this type: the modules were not the same programs.
        public var onlyInFirst: [String] = []
        public var onlyInSecond: [String] = []
    }

    private let reference: ReferenceRun
    private let sum = FrameDigest()
    private var signals: [(slot: Int, signal: Signal)] = []
    /// Nil while no frame differed.
    public private(set) var difference: Difference?
    /// False while the modules have not staged.
    public private(set) var hasBegun = false

    public init(with reference: ReferenceRun) { self.reference = reference }

    public func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws {
        try refuseReset(epoch)
        hasBegun = true
        sum.begin(plan, epoch: epoch, isRealtime: isRealtime)
        signals = plan.registry.publishedInOrder.map { ($0, plan.registry.signals[$0]) }
        let first = Self.names(reference.signals), second = Self.names(signals.map(\.signal))
        guard first != second else { return }
        let inFirst = Set(first), inSecond = Set(second)
        try end(
            Difference(
                frame: 0, onlyInFirst: first.filter { !inSecond.contains($0) },
                onlyInSecond: second.filter { !inFirst.contains($0) }))
    }

    private static func names(_ signals: [Signal]) -> [String] { signals.map { "\($0.name) (\($0.type.word))" } }

    public func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) throws {
        sum.completed(frame: frame, time: time, slots: slots)
        guard frame < reference.sums.count, reference.sums[Int(frame)] != sum.frameSums else { return }
        let row = reference.rows?.row(Int(frame))
        let values = row.map { zip(signals, $0) }?.compactMap { entry, bits -> Difference.Value? in
            guard slots[entry.slot] != bits else { return nil }
            return Difference.Value(
                name: entry.signal.name.description, type: entry.signal.type, first: bits, second: slots[entry.slot])
        }
        try end(Difference(frame: frame, values: values ?? []))
    }

    private func end(_ difference: Difference) throws {
        self.difference = difference
        throw RunFailure(.refused, frame: difference.frame, cause: "differs from the first run")
    }

    public func modeChanged(isRealtime: Bool) {}
    public func finish() {}
}

private func refuseReset(_ epoch: UInt32) throws {
    if epoch > 0 { throw RunFailure(.refused, cause: "a reset came in the middle of the comparison") }
}
