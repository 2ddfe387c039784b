import CHermes
import CKeeper
import CLinux
import Glibc
import HermesBackplane
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming
import HermesTransport
import Synchronization

/// One host's modules and segment, driven by direct call on the thread that runs the frames.
public final class EmbeddedNode: LinkedNode {
    public struct Reporter: Sendable {
        /// A line of a module's output.
        public var moduleLine: @Sendable (_ module: String, _ line: String) -> Void
        /// Something a human should know while it happens.
        public var warning: @Sendable (_ text: String) -> Void

        /// A module inside this process never comes back: say so and end the process, this does not return.
        public var stuck: @Sendable (_ failure: RunFailure) -> Void
        /// `on_module_error` did something; on the thread that runs the frames, once it is in `moduleErrors`.
        public var fired: @Sendable (_ error: ModuleError) -> Void

        public init(
            moduleLine: @escaping @Sendable (String, String) -> Void, warning: @escaping @Sendable (String) -> Void,
            stuck: @escaping @Sendable (RunFailure) -> Void = EmbeddedNode.endProcess,
            fired: @escaping @Sendable (ModuleError) -> Void = { _ in }
        ) {
            self.moduleLine = moduleLine
            self.warning = warning
            self.stuck = stuck
            self.fired = fired
        }
    }

    let simulation: Simulation
    /// What people call this host.
    let hostName: String
    let settings: LaunchSettings
    let reporter: Reporter
    let folder: RunFolder
    var processKeeper: keeper
    var supervisor: ProcessSupervisor?
    /// By module index, one of the two.
    var processes: [Int: ModuleProcess] = [:]
    var inproc: [Int: InprocModule] = [:]
    let inprocWatch: InprocWatch
    /// Module indices in the order of the supervisor's records.
    var recordOrder: [Int] = []
    var lifecycles: Monitor<[ModuleLifecycle]>
    var announcements: [Announcement] = []
    var plan: Plan?
    var segment: Segment?
    var mirror: SignalMirror?
    /// Wakes the thread that runs the frames from its wait for other hosts.
    let alarm: Alarm
    struct LossTarget {
        let segment: Segment
        let freeRecords, guardedRecords: Set<Int>
    }
    /// Whom the supervisor's thread tells of a loss: nobody until the modules have staged, nobody once they are ended.
    let lossTarget = Monitor<LossTarget?>(nil)
    var executor: FrameExecutor?
    var times: FrameTimes?
    /// Whether a timeline is wanted; before `prepare`.
    public var traces = false
    var haveFreeScriptsBeenTold = false
    let abandoned = Atomic<Bool>(false)
    var overrides: [(slot: Int, bits: UInt64)] = []
    /// What the coordinator wrote since the last frame.
    var written: [ValueOrder] = []

    /// Nil where every failure ends the run.
    var guards: GuardedModules?
    let losses = LossCounter()
    /// Not what `losses` begins with: who is lost before it counts is found by the first look.
    var lossesSeen = UInt32.max
    let errors = Mutex<[ModuleError]>([])
    /// The number that each module's reply to `terminate` bears.
    var terminations: [Int: UInt32] = [:]
    /// Modules whose processes did not end when they were told to.
    var killed: Set<Int> = []
    /// Of modules that have ended.
    public internal(set) var unsafeModules: [RunFailure] = []
    /// Of modules that may be started again, by module index.
    var launchedFiles: [Int: LaunchedFiles] = [:]
    /// What each process announced, by module index.
    var announcedBytes: [Int: [UInt8]] = [:]
    /// A process is being started again, while others step.
    var isRestarting = false
    /// Nil in other modes.
    let realtime: RealtimeOrder?
    /// What the simulation is doing; nil until somebody says so.
    var shown: SegmentPhase?

    /// - Parameters:
    ///   - simulation: with only this host's modules.
    ///   - realtime: what threads and memory are to be like in the frames; nil in other modes.
    ///   - keeper: forked by the caller before it had threads; the node ends it.
    public init(
        _ simulation: Simulation, hostName: String = "desk", settings: LaunchSettings,
        realtime: RealtimeOrder? = nil, folder: RunFolder,
        keeper processKeeper: keeper,
        alarm: Alarm, reporter: Reporter
    ) {
        self.simulation = simulation
        self.hostName = hostName
        self.settings = settings
        self.realtime = realtime
        self.reporter = reporter
        self.folder = folder
        self.alarm = alarm
        self.processKeeper = processKeeper
        lifecycles = Monitor(Array(repeating: ModuleLifecycle(), count: simulation.modules.count))
        let modules = simulation.modules
        let hostName = hostName
        inprocWatch = InprocWatch(
            timeouts: modules.map { module in
                let step = module.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds
                return (start: module.startSeconds(stepSeconds: step), step: step)
            },
            onHalf: {
                reporter.warning("waiting for host \(hostName), module \(modules[$0].name), inside this process")
            },
            onStuck: { index, seconds, isStart in
                reporter.stuck(
                    RunFailure(
                        .timeout, module: modules[index].name, host: hostName,
                        cause: "did not return within \(SignalValue.text(seconds)) s"
                            + (isStart ? Self.startCure : "") + "; it runs inside this process, which ends"))
            })
        folder.register(with: &self.processKeeper)
    }

    deinit { keeper_close(&processKeeper) }

    static let startCure = "; where it needs longer to start, give the module a longer `start_timeout_s`"

    /// Seconds that each part of a module's start may take; 0 for ever.
    func startSeconds(_ index: Int) -> Double {
        simulation.modules[index].startSeconds(stepSeconds: simulation.execution.stepTimeoutSeconds)
    }

    /// Writes the failure, lets a recording's thread write what it holds, and ends the process with exit code 2.
    @Sendable public static func endProcess(_ failure: RunFailure) {
        let line = PrintableText.line("hermes: error: \(failure)") + "\n"
        _ = line.withCString { Glibc.write(2, $0, strlen($0)) }
        usleep(400_000)
        linux_end_children()
        _exit(2)
    }

    // MARK: Frames

    public func advance(from first: UInt64, through last: UInt64) throws { try step(frame: first, appliesWrites: true) }
    public var completedFrame: UInt64 { segment?.frame ?? 0 }
    public var grantedFrame: UInt64 { completedFrame }
    public var hasWritesWaiting: Bool { segment!.hasWritesWaiting }
    public func recall(_ frame: UInt64) {}

    var signalCount: Int { segment?.signalCount ?? 0 }

    /// Whether a plan is for the modules that have been launched.
    func fits(_ plan: Plan) -> Bool {
        let stepped = Array(plan.phases.joined())
        return plan.modules.count == simulation.modules.count && Set(stepped).count == stepped.count
            && zip(plan.modules, simulation.modules).allSatisfy { planned, launched in
                planned.name.isSame(as: launched.name) && planned.isInproc == (launched.kind == .inproc)
            }
    }

    public func order(_ signals: [Int], writing bits: [UInt64]?) -> ValueOrder {
        ValueOrder(signals, writing: bits)
    }

    public func sample(_ order: ValueOrder, reply: (RunFailure?) -> Void) {
        order.take(from: slots)
        reply(nil)
    }

    public func write(_ order: ValueOrder) { written.append(order) }

    private func applyWritten() {
        if written.isEmpty { return }
        for order in written { order.store(into: segment!.slots) }
        written.removeAll(keepingCapacity: true)
    }

    public func step(frame: UInt64, appliesWrites: Bool) throws {
        try attendLosses(frame: frame)
        // Not earlier: until the step begins, everybody who looks sees the completed frame and nothing else.
        if appliesWrites {
            segment!.applyWrites()
            applyWritten()
        }
        if segment!.isBroken { throw brokenFailure(nil, frame: frame) }
        guards?.begin(frame)
        defer { times!.broke() }
        do {
            try executor!.run(frame: frame)
        } catch .loss {
            throw lossFailure(frame: frame)
        } catch .inproc(let index, let status) {
            throw statusFailure(index, status, inproc[index]!.reason, frame: frame)
        } catch .link(let fault) {
            throw linkFailure(fault, frame: frame)
        } catch .timedOut(let index, let seconds) {
            throw timeoutFailure(index, seconds, frame: frame)
        } catch .broken(let index) {
            throw brokenFailure(index, frame: frame)
        } catch .failed(let error) {
            throw error
        }
        segment!.publish(frame: frame, time: Double(frame) / plan!.rateHz)
    }

    public func reset() throws {
        try attendLosses(frame: segment!.frame + 1)
        segment!.beginReset()
        for index in plan!.stageOrder where !isHeld(index) {
            if let inside = inproc[index] {
                try check(inside.reset(), of: index, inside, "reset")
            } else if !plan!.modules[index].isFree {
                try expectSuccess(index, try send(Int(HERMES_RESET), to: index), "reset")
            }
        }
        try deliverFrameZero(epoch: segment!.epoch &+ 1)
        try saveFirstStates()
        segment!.beginEpoch()
    }

    /// What it has at this edge it keeps, whatever else begins anew.
    func isHeld(_ index: Int) -> Bool { Self.isHeld(index, guards) }

    static func isHeld(_ index: Int, _ guards: GuardedModules?) -> Bool {
        guard let guards, let place = guards.place(of: index) else { return false }
        return guards.entries[place].isHeld
    }

    public func atEdge() throws {
        try attendLosses(frame: segment!.frame + 1)
        try throwIfLost(frame: segment!.frame)
        segment!.serveSnapshot()
        if segment!.isBroken { throw brokenFailure(nil, frame: segment!.frame) }
    }

    public func conclude() throws {
        if segment!.damage != nil { throw brokenFailure(nil, frame: segment!.frame) }
    }

    public var slots: UnsafePointer<UInt64> { UnsafePointer(segment!.slots) }
    public var epoch: UInt32 { segment?.epoch ?? 0 }
    public var attention: UInt32 { segment!.attention }
    public func sleep(seen: UInt32, until deadline: UInt64) -> Bool { segment!.sleep(seen: seen, until: deadline) }
    public func raiseAttention() { lossTarget.with { $0?.segment.raiseAttention() } }

    var isAbandoned: Bool { abandoned.load(ordering: .relaxed) }

    public func abandon() {
        abandoned.store(true, ordering: .relaxed)
        if let index = inprocWatch.current {
            // A step takes no time worth speaking of; one that is still there after a moment hangs.
            usleep(200_000)
            if inprocWatch.current == index {
                reporter.stuck(
                    RunFailure(
                        .refused, module: simulation.modules[index].name, host: hostName,
                        cause: "interrupted while it ran inside this process, which ends"))
            }
        }
        supervisor?.records.with { _ in }
        lossTarget.with { $0?.segment.raiseFault() }
        alarm.raise()
    }

    /// Should this process be killed, the keeper cuts the file after its last whole row.
    public func protectRecording(_ file: OutputFile) {
        if file.isPlain { keeper_trim(&processKeeper, file.descriptor) }
    }

    public func show(_ state: SegmentPhase) {
        shown = state
        segment!.setState(state == .running ? .running : .paused)
        tellFreeScripts()
        lifecycles.with { lifecycles in
            for index in lifecycles.indices { _ = lifecycles[index].handle(state == .running ? .run : .pause) }
        }
    }

    /// Free scripts wait until everybody may look at the simulation.
    func tellFreeScripts() {
        guard !haveFreeScriptsBeenTold else { return }
        haveFreeScriptsBeenTold = true
        for index in recordOrder where plan!.modules[index].isFree {
            _ = processes[index]!.send(Int(HERMES_STAGE), until: deadline(after: 1))
        }
    }

    public var moduleStates: [(name: String, state: ModuleState)] {
        lifecycles.with { Array(zip(simulation.modules.map(\.name), $0.map(\.state))) }
    }

    public var moduleErrors: [ModuleError] { errors.withLock { $0 } }

    public func expectStart(at due: UInt64) { times?.due = due }
    public var hostTraces: [TracedHost] {
        times?.timeline(host: hostName).map { [TracedHost(trace: $0, clock: .own)] } ?? []
    }
    public var hostTimes: [HostTimes] { times.map { [$0.report(host: hostName)] } ?? [] }
}
