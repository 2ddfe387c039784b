import Foundation
import HermesModel
import HermesPlan
import HermesProtocol
import Synchronization

/// What a scheduler did, in order.
enum Happening: Equatable, CustomStringConvertible {
    case launch, prepare, stage, edge, reset
    case step(UInt64), observe(UInt64), begin(epoch: UInt32), modeChanged(isRealtime: Bool)
    case show(SegmentPhase), terminate(hurried: Bool), remove, observerFinish

    var description: String {
        switch self {
        case .step(let frame): "step \(frame)"
        case .observe(let frame): "observe \(frame)"
        case .begin(let epoch): "begin \(epoch)"
        case .modeChanged(let isRealtime): isRealtime ? "realtime" : "not realtime"
        case .show(let phase): "show \(phase)"
        case .terminate(let hurried): hurried ? "terminate hurried" : "terminate"
        case .observerFinish: "observers finish"
        default: String(reflecting: self).split(separator: ".").last.map(String.init) ?? ""
        }
    }
}

/// The other side of the seam: a node that does what a test scripts.
final class ScriptedNode: NodeSession, @unchecked Sendable {
    private let log = Mutex<[Happening]>([])
    private let condition = NSCondition()
    private let limit = Date(timeIntervalSinceNow: 60)
    private var attentionCount: UInt32 = 5
    private var isAbandoned = false
    private var epochCount: UInt32 = 0
    private let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: 8)
    private struct Script { var step: @Sendable (UInt64) throws -> Void = { _ in } }
    private let script = Mutex(Script())
    /// Called within `step`, on the thread that runs the frames.
    var onStep: @Sendable (UInt64) throws -> Void {
        get { script.withLock { $0.step } }
        set { script.withLock { $0.step = newValue } }
    }
    var onLaunch: () throws -> Void = {}
    var announced: [AnnouncedSignal] = [
        AnnouncedSignal(name: "out"), AnnouncedSignal(name: "in", type: .i32, writable: true),
    ]
    /// False: paced sleeps return at once.
    var isPatient = true
    private var slept: [UInt64] = []
    var deadlines: [UInt64] {
        condition.lock()
        defer { condition.unlock() }
        return slept
    }
    private(set) var overrides: [(slot: Int, bits: UInt64)] = []

    init() { memory.initialize(repeating: 0, count: 8) }
    deinit { memory.deallocate() }

    var happenings: [Happening] { log.withLock { $0 } }
    func note(_ happening: Happening) { log.withLock { $0.append(happening) } }

    func launch() throws -> [Announcement] {
        note(.launch)
        try onLaunch()
        return [Announcement(signals: announced)]
    }
    func prepare(_ plan: Plan) { note(.prepare) }
    func stage(overrides: [(slot: Int, bits: UInt64)]) {
        note(.stage)
        self.overrides = overrides
    }
    var report = RealtimeReport()
    func keepTime() -> RealtimeReport { report }
    func order(_ signals: [Int], writing bits: [UInt64]?) -> ValueOrder { ValueOrder(signals, writing: bits) }
    func sample(_ order: ValueOrder, reply: @escaping (RunFailure?) -> Void) {
        for (place, slot) in order.signals.enumerated() { order.bits[place] = memory[slot % 8] }
        reply(nil)
    }
    func write(_ order: ValueOrder) {
        for (place, slot) in order.signals.enumerated() { memory[slot % 8] = order.bits[place] }
    }
    private(set) var completedFrame: UInt64 = 0
    var grantedFrame: UInt64 { completedFrame }
    func recall(_ frame: UInt64) {}
    func expectStart(at due: UInt64) {}
    var hostTimes: [HostTimes] = []
    var hostTraces: [TracedHost] = []
    func advance(from frame: UInt64, through last: UInt64) throws {
        note(.step(frame))
        // A run that nobody ends must end in a failed test.
        if frame % 1024 == 0 && Date() > limit {
            throw RunFailure(.timeout, frame: frame, cause: "nobody ended this run")
        }
        try onStep(frame)
        completedFrame = frame
    }
    func reset() {
        note(.reset)
        epochCount += 1
        completedFrame = 0
    }
    func conclude() throws {}
    func atEdge() { note(.edge) }
    func terminate(hurried: Bool) { note(.terminate(hurried: hurried)) }
    var unsafeModules: [RunFailure] = []
    func remove() { note(.remove) }
    var slots: UnsafePointer<UInt64> { UnsafePointer(memory) }
    var epoch: UInt32 { epochCount }
    var attention: UInt32 {
        condition.lock()
        defer { condition.unlock() }
        return attentionCount
    }
    func sleep(seen: UInt32, until deadline: UInt64) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        if deadline != .max { slept.append(deadline) }
        if !isPatient && deadline != .max { return attentionCount != seen }
        while attentionCount == seen { if !condition.wait(until: limit) { return false } }
        return true
    }
    func raiseAttention() {
        condition.lock()
        attentionCount += 1
        condition.broadcast()
        condition.unlock()
    }
    func abandon() { isAbandoned = true }
    func show(_ state: SegmentPhase) { note(.show(state)) }
    var moduleStates: [(name: String, state: ModuleState)] { [("m", .running)] }
    var moduleErrors: [ModuleError] { [] }

    static let simulation = Simulation(
        name: "scripted", baseDirectory: "/",
        modules: [
            Module(
                name: "m", kind: .process, program: "/bin/true",
                location: SourceLocation(file: "sim.yaml", line: 1, column: 1))
        ], execution: Execution(rateHz: 100, schedule: [["m"]]))
}

/// An observer that writes into its node's log.
final class LoggingObserver: FrameObserver {
    private let node: ScriptedNode
    var failAtFrame: UInt64?
    var finishFailure: RunFailure?
    private let abandoned = Atomic<Bool>(false)
    var isAbandoned: Bool { abandoned.load(ordering: .relaxed) }
    private(set) var times: [Double] = []

    init(_ node: ScriptedNode) { self.node = node }

    func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) { node.note(.begin(epoch: epoch)) }
    func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) throws {
        if frame == failAtFrame { throw RunFailure(.resource, frame: frame, cause: "disk full") }
        node.note(.observe(frame))
        times.append(time)
    }
    func modeChanged(isRealtime: Bool) { node.note(.modeChanged(isRealtime: isRealtime)) }
    func finish() throws {
        node.note(.observerFinish)
        if let finishFailure { throw finishFailure }
    }
    func abandon() { abandoned.store(true, ordering: .relaxed) }
}

/// True as soon as `condition` holds, false when it does not come true.
func eventually(_ condition: () -> Bool) -> Bool {
    let limit = Date(timeIntervalSinceNow: 60)
    while !condition() {
        guard Date() < limit else { return false }
        sched_yield()
    }
    return true
}
