import CHermes
import CKeeper
import Glibc
import HermesBackplane
import HermesModel
import HermesPlan
import HermesProtocol
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

    /// Seconds a module has to announce, to initialise and to stage: interpreters and tables take their time to load.
    private static let startSeconds = 30.0

    let simulation: Simulation
    /// What people call this host.
    let hostName: String
    let settings: LaunchSettings
    let reporter: Reporter
    private let folder: RunFolder
    var processKeeper: keeper
    var supervisor: ProcessSupervisor?
    /// By module index, one of the two.
    var processes: [Int: ModuleProcess] = [:]
    var inproc: [Int: InprocModule] = [:]
    private let inprocWatch: InprocWatch
    /// Module indices in the order of the supervisor's records.
    var recordOrder: [Int] = []
    var lifecycles: Monitor<[ModuleLifecycle]>
    private var announcements: [Announcement] = []
    var plan: Plan?
    var segment: Segment?
    private var mirror: SignalMirror?
    /// Wakes the thread that runs the frames from its wait for other hosts.
    private let alarm: Alarm
    private struct LossTarget {
        let segment: Segment
        let freeRecords, guardedRecords: Set<Int>
    }
    /// Whom the supervisor's thread tells of a loss: nobody until the modules have staged, nobody once they are ended.
    private let lossTarget = Monitor<LossTarget?>(nil)
    private var executor: FrameExecutor?
    private(set) var times: FrameTimes?
    /// Whether a timeline is wanted; before `prepare`.
    public var traces = false
    private var haveFreeScriptsBeenTold = false
    private let abandoned = Atomic<Bool>(false)
    private var overrides: [(slot: Int, bits: UInt64)] = []
    /// What the coordinator wrote since the last frame.
    private var written: [(slot: Int, bits: UInt64)] = []

    /// Nil where every failure ends the run.
    var guards: GuardedModules?
    let losses = LossCounter()
    /// Not what `losses` begins with: who is lost before it counts is found by the first look.
    var lossesSeen = UInt32.max
    let errors = Mutex<[ModuleError]>([])
    /// What each process announced, by module index.
    var announcedBytes: [Int: [UInt8]] = [:]
    /// A process is being started again, while others step.
    var isRestarting = false
    /// Nil in other modes.
    let realtime: RealtimeOrder?
    /// What the simulation is doing; nil until somebody says so.
    private(set) var shown: SegmentPhase?

    /// - Parameters:
    ///   - simulation: with only this host's modules.
    ///   - realtime: what threads and memory are to be like in the frames; nil in other modes.
    ///   - keeper: forked by the caller before it had threads; the node ends it.
    public init(
        _ simulation: Simulation, hostName: String = "desk", settings: LaunchSettings,
        realtime: RealtimeOrder? = nil, folder: RunFolder,
        keeper processKeeper: keeper,
        alarm: Alarm = Alarm(), reporter: Reporter
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
            timeoutSeconds: modules.map { $0.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds },
            onHalf: {
                reporter.warning("waiting for host \(hostName), module \(modules[$0].name), inside this process")
            },
            onStuck: { index, seconds in
                reporter.stuck(
                    RunFailure(
                        .timeout, module: modules[index].name, host: hostName,
                        cause: "did not return within \(shortest(seconds)) s; it runs inside this process, which ends"))
            })
        folder.register(with: &self.processKeeper)
    }

    deinit { keeper_close(&processKeeper) }

    /// Writes the failure, lets a recording's thread write what it holds, and ends the process with exit code 2.
    @Sendable public static func endProcess(_ failure: RunFailure) {
        let line = "hermes: error: \(failure)\n"
        _ = line.withCString { Glibc.write(2, $0, strlen($0)) }
        usleep(400_000)
        _exit(2)
    }

    // MARK: Start

    public func launch() throws -> [Announcement] {
        try checkCPUs()
        try startModules()
        announcements = try simulation.modules.indices.map { try announcement(of: $0) }
        return announcements
    }

    /// Everything is made, and somebody reads what the keeper has to say, before the first process starts: two full
    /// sockets would wait for each other.
    private func startModules() throws {
        var made: [(index: Int, process: ModuleProcess)] = []
        for (index, module) in simulation.modules.enumerated() {
            if module.kind == .inproc {
                if inproc.isEmpty { inprocWatch.start() }
                inproc[index] = try InprocModule(
                    module, index: index, simulationName: simulation.name, watch: inprocWatch)
            } else {
                let process = try ModuleProcess(
                    id: UInt32(made.count), module: module, folder: folder, keeper: &processKeeper)
                made.append((index, process))
            }
        }
        supervise(made.map(\.process))
        for (index, process) in made {
            try process.launch(launchOf(process, index), keeper: &processKeeper)
            processes[index] = process
            recordOrder.append(index)
        }
    }

    func launchOf(_ process: ModuleProcess, _ index: Int) throws -> ModuleLaunch {
        try settings.launch(
            of: process.module, realtime: realtime?.modules[index], commandPath: process.commandPath,
            replyPath: process.replyPath)
    }

    private func supervise(_ started: [ModuleProcess]) {
        let loss = lossTarget, alarm = alarm, losses = losses
        let supervisor = ProcessSupervisor(
            keeper: processKeeper, processes: started, onLine: reporter.moduleLine,
            onLoss: { index, record in
                loss.with { target in
                    guard let target, record.isLoss(ofFreeScript: target.freeRecords.contains(index)) else { return }
                    if target.guardedRecords.contains(index) {
                        losses.add()
                        target.segment.raiseLook()
                    } else {
                        target.segment.raiseFault()
                        alarm.raise()
                    }
                    target.segment.raiseAttention()
                }
            })
        supervisor.start()
        self.supervisor = supervisor
    }

    private func announcement(of index: Int) throws -> Announcement {
        let module = simulation.modules[index]
        func decode(_ bytes: [UInt8]) throws -> Announcement {
            do {
                return Announcement(signals: try AnnouncementDecoder.decode(bytes))
            } catch {
                throw failure(.announce, index, error.cause)
            }
        }
        if let inside = inproc[index] { return try decode(inside.announcement) }
        // A file that isn't Python can't know of this library: it runs beside the frames.
        if module.kind == .script && !LaunchSettings.isPython(module.program) {
            return Announcement(isFree: true, signals: [])
        }
        let record = try awaitRecord(index, doing: "announce its signals") { record -> ProcessRecord? in
            record.announcement != nil || record.isFree || record.exitStatus == 0 && module.kind == .script
                ? record : nil
        }
        announcedBytes[index] = record.announcement
        guard let bytes = record.announcement else { return Announcement(isFree: true, signals: []) }
        return try decode(bytes)
    }

    public func prepare(_ plan: Plan) throws {
        try prepare(HostShare(whole: plan), mirrors: nil, longestStepSeconds: 0)
    }

    /// - Parameter mirrors: to the other hosts, where there are any.
    public func prepare(_ share: HostShare, mirrors link: (any MirrorLink)?, longestStepSeconds: Double) throws {
        let plan = share.plan
        self.plan = plan
        let name = RunFolder.segmentName(of: simulation.name)
        let segment: Segment
        do {
            segment = try Segment(name: name, share: share, run: UInt64.random(in: 1 ... .max))
        } catch {
            throw RunFailure(.resource, cause: "\(error)")
        }
        self.segment = segment
        let times = FrameTimes(plan, segment, trace: traces ? TraceRing() : nil)
        self.times = times
        // Other hosts may be on this machine, each with as many.
        let stepping = plan.modules.indices.count { processes[$0] != nil && !plan.modules[$0].isFree } + 1
        let spinLength = ShortWait.nanoseconds(
            threads: link == nil ? stepping : 2 * stepping,
            hasPriority: realtime.map { ([$0.frames] + $0.modules).contains { $0.priority != nil } } ?? false)
        segment.permitSpin(nanoseconds: spinLength)
        mirror = link.map { link in
            let reporter = reporter
            // Every phase of another host may take as long as the slowest step; by then that host has said so itself.
            let patience =
                longestStepSeconds == 0 ? 0 : max(longestStepSeconds, Self.startSeconds) * Double(plan.phases.count + 1)
            return SignalMirror(
                link, share, segment, times, spinLength: spinLength, patienceSeconds: patience
            ) { peer, frame in
                reporter.warning(
                    "waiting for host \((plan.hosts[peer]) ?? "desk"), whose values of frame \(frame) are due")
            }
        }
        for index in recordOrder {
            // A module can have announced before the keeper's word of its start is read.
            let pid = try awaitRecord(index, doing: "start") { $0.pid != 0 ? $0.pid : nil }
            segment.setProcess(pid, ofModule: index)
        }
        let policies = simulation.modules.map { $0.onError ?? simulation.execution.onModuleError }
        let guards = GuardedModules(
            plan, policies: policies, restartLimit: simulation.execution.restartLimit, segment: segment)
        self.guards = guards.entries.isEmpty ? nil : guards
        try initialise(plan.modules.indices.filter { processes[$0] != nil && !plan.modules[$0].isFree })
        for (index, module) in inproc.sorted(by: { $0.key < $1.key }) {
            guard segment.bind(module.bind, index: index) else {
                throw failure(.protocolError, index, "does not fit the segment made for it")
            }
            try check(module.initialise(), of: index, module, "init")
        }
    }

    /// All at once: what takes its time loads side by side.
    func initialise(_ modules: [Int]) throws {
        let name = Array(segment!.name.utf8)
        let asked = try modules.map { index in
            let head = withUnsafeBytes(of: UInt32(index).littleEndian) { Array($0) }
            return (index, try send(Int(HERMES_INIT), to: index, head: head, body: name))
        }
        for (index, sequence) in asked { try expectSuccess(index, sequence, "init") }
    }

    public func stage(overrides: [(slot: Int, bits: UInt64)]) throws {
        self.overrides = overrides
        for index in plan!.stageOrder { try stage(index) }
        try deliverFrameZero(epoch: 0)
        try saveFirstStates()
        segment!.publish(frame: 0, time: 0)
        executor = makeExecutor()
        hermes_thread_wakes_precisely()
        let segment = segment!
        let freeRecords = recordOrder.indices.filter { plan!.modules[recordOrder[$0]].isFree }
        let guardedRecords = recordOrder.indices.filter { guards?.place(of: recordOrder[$0]) != nil }
        lossTarget.with {
            $0 = LossTarget(
                segment: segment, freeRecords: Set(freeRecords), guardedRecords: Set(guardedRecords))
        }
        // Whoever was lost before faults could be raised is found here.
        try throwIfLost(frame: nil)
    }

    private func stage(_ index: Int) throws {
        if let inside = inproc[index] {
            try check(inside.stage(), of: index, inside, "stage")
        } else if !plan!.modules[index].isFree {
            try expectSuccess(index, try send(Int(HERMES_STAGE), to: index), "stage")
        }
        lifecycles.with { _ = $0[index].handle(.stage) }
    }

    private func deliverFrameZero(epoch: UInt32) throws {
        for (slot, bits) in overrides { segment!.slots[slot] = bits }
        segment!.gatherAll()
        do throws(LinkFault) {
            try mirror?.exchange(phase: plan!.phases.count, frame: 0, epoch: epoch)
        } catch {
            throw linkFailure(error, frame: 0)
        }
        segment!.deliverAll()
    }

    private func makeExecutor() -> FrameExecutor {
        let plan = plan!, segment = segment!
        let work = plan.phases.map { members in
            members.compactMap { index in
                inproc[index].map { (index: index, divisor: UInt64(plan.modules[index].divisor), module: $0) }
            }
        }
        let stepped = plan.modules.indices.filter { !plan.modules[$0].isInproc && !plan.modules[$0].isFree }
        let reporter = reporter, hostName = hostName, guards = guards
        let warn = { (module: Int, frame: UInt64) in
            reporter.warning("waiting for host \(hostName), module \(plan.modules[module].name), frame \(frame)")
        }
        return FrameExecutor(
            segment: segment, work: work, mirror: mirror,
            owed: {
                stepped.filter { segment.isOwed(byModule: $0) }.map { index in
                    let askedAgain = guards?.place(of: index).map { guards!.entries[$0].askedAgain } ?? 0
                    return (index, max(askedAgain, segment.releaseTime(ofPhase: plan.modules[index].phase)))
                }
            },
            guards: guards == nil
                ? nil
                : FrameExecutor.Guards(
                    look: { [unowned self] in try lookAtGuarded(frame: $0) },
                    endures: { [unowned self] in try endures($0, frame: $1) }),
            warn: warn,
            watch: StepWatch(
                timeoutSeconds: simulation.modules.map {
                    $0.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds
                }),
            times: times!)
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
                planned.name == launched.name && planned.isInproc == (launched.kind == .inproc)
            }
    }

    public func sample(_ slots: [Int]) -> [UInt64] {
        slots.map { (0..<segment!.signalCount).contains($0) ? segment!.slots[$0] : 0 }
    }

    public func write(_ values: [(slot: Int, bits: UInt64)]) {
        written += values.filter { (0..<segment!.signalCount).contains($0.slot) }
    }

    public func step(frame: UInt64, appliesWrites: Bool) throws {
        try attendLosses(frame: frame)
        // Not earlier: until the step begins, everybody who looks sees the completed frame and nothing else.
        if appliesWrites {
            segment!.applyWrites()
            for (slot, bits) in written { segment!.slots[slot] = bits }
            if !written.isEmpty { written.removeAll() }
        }
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
    private func isHeld(_ index: Int) -> Bool {
        guard let guards, let place = guards.place(of: index) else { return false }
        return guards.entries[place].isHeld
    }

    public func atEdge() throws {
        try attendLosses(frame: segment!.frame + 1)
        try throwIfLost(frame: segment!.frame)
        segment!.serveSnapshot()
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
    public func protectRecording(_ path: String) {
        var absolute = path
        if !path.hasPrefix("/"), let here = getcwd(nil, 0) {
            absolute = String(cString: here) + "/" + path
            free(here)
        }
        keeper_register(&processKeeper, Int32(KEEPER_TRIM), absolute)
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
    private func tellFreeScripts() {
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

    // MARK: End

    public func terminate(hurried: Bool) {
        lossTarget.with { $0 = nil }
        terminateInOrder(hurried: hurried)
        segment?.setState(.ended)
        if supervisor == nil {
            keeper_finish(&processKeeper)
        } else {
            awaitExits()
            keeper_finish(&processKeeper)
            supervisor?.stop()
        }
        lifecycles.with { lifecycles in
            for index in lifecycles.indices { _ = lifecycles[index].handle(.finish) }
        }
    }

    public func remove() {
        segment?.unlink()
        inprocWatch.stop()
        inproc.removeAll()
        executor = nil
        folder.remove()
    }

    /// Each module in schedule order is told to terminate and waited for; together they have a second.
    private func terminateInOrder(hurried: Bool) {
        let limit = deadline(after: 1)
        for index in plan?.stageOrder ?? Array(simulation.modules.indices) {
            if let inside = inproc[index] {
                inside.terminate()
                continue
            }
            guard let process = processes[index], exitStatus(index) == nil else { continue }
            let isFree = plan?.modules[index].isFree ?? false
            let isReady = segment?.isReady(module: index) == true
            guard !isFree, let sequence = process.send(Int(HERMES_TERMINATE), until: limit) else {
                keeper_signal(&processKeeper, process.id, SIGTERM, 0)
                continue
            }
            if isReady { segment?.announceCommand(toModule: index) }
            // One that hangs in a step does not read its FIFO; SIGTERM has libhermes terminate it from beside.
            let owes = hurried && segment?.isOwed(byModule: index) == true
            let announced = record(index) { $0.announcement != nil }
            if owes || !announced { keeper_signal(&processKeeper, process.id, SIGTERM, 0) }
            if announced && !owes {
                _ = supervisor!.records.wait(until: limit) { records -> Bool? in
                    let record = records[Int(process.id)]
                    return record.replies[sequence] != nil || record.exitStatus != nil || record.isOrphaned ? true : nil
                }
            }
        }
    }

    /// The kill ladder's lower rungs: SIGTERM for who has not gone, then SIGKILL for its group.
    private func awaitExits() {
        let spawned = recordOrder.filter { index in record(index) { $0.launchError == nil } }
        func allGone(within seconds: Double) -> Bool {
            supervisor!.records.wait(until: deadline(after: seconds)) { records -> Bool? in
                let seen = spawned.map { records[Int(processes[$0]!.id)] }
                return seen.allSatisfy { $0.exitStatus != nil || $0.isOrphaned } ? true : nil
            } ?? false
        }
        defer { endOrphans() }
        if allGone(within: 1.0) { return }
        for index in spawned where exitStatus(index) == nil {
            // Free scripts have no terminate: SIGTERM is how they are told.
            if plan?.modules[index].isFree != true {
                reporter.warning(
                    "module \(simulation.modules[index].name) has not terminated within 1 s; it gets SIGTERM")
            }
            keeper_signal(&processKeeper, processes[index]!.id, SIGTERM, 0)
        }
        if allGone(within: 0.7) { return }
        for index in spawned where exitStatus(index) == nil {
            reporter.warning("module \(simulation.modules[index].name) did not terminate; killed")
            keeper_signal(&processKeeper, processes[index]!.id, SIGKILL, 1)
        }
        _ = allGone(within: 2)
    }

    /// Processes whose keeper was killed got SIGTERM from the kernel; after their second they are ended from here.
    private func endOrphans() {
        let orphans = supervisor!.records.with {
            $0.filter { $0.isOrphaned && $0.exitStatus == nil && $0.pid > 0 }.map(\.pid)
        }
        let limit = deadline(after: 1.2)
        while orphans.contains(where: { kill($0, 0) == 0 }) && monotonicNow() < limit { usleep(10_000) }
        for pid in orphans { kill(-pid, SIGKILL) }
    }

    // MARK: Commands and their replies

    func send(_ type: Int, to index: Int, head: [UInt8] = [], body: [UInt8] = []) throws -> UInt32 {
        // Asked before the command goes out: the one that stages makes the module ready.
        let isReady = segment?.isReady(module: index) == true
        guard
            let sequence = processes[index]!.send(
                type, head: head, body: body, until: deadline(after: Self.startSeconds))
        else { throw failure(.protocolError, index, "does not read its command FIFO") }
        if isReady { segment!.announceCommand(toModule: index) }
        return sequence
    }

    func expectSuccess(_ index: Int, _ sequence: UInt32, _ call: String) throws {
        let reply = try awaitRecord(index, doing: "return from \(call)") { $0.replies.removeValue(forKey: sequence) }
        guard reply.status == 0 else { throw callFailure(index, call, reply.status, reply.text) }
    }

    private func check(_ status: Int32, of index: Int, _ module: InprocModule, _ call: String) throws {
        guard status == 0 else { throw callFailure(index, call, status, module.reason) }
    }

    /// Waits for something of a module's process; says so at half the time, and throws when it is lost or too late.
    func awaitRecord<Result>(
        _ index: Int, doing what: String, frame: UInt64? = nil, _ body: (inout ProcessRecord) -> Result?
    ) throws -> Result {
        let record = Int(processes[index]!.id)
        let waitsForEver =
            (simulation.modules[index].stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds) == 0
        func look(_ records: inout [ProcessRecord]) -> Awaited<Result>? {
            if isAbandoned { return .lost }
            if let result = body(&records[record]) { return .result(result) }
            if isRestarting && endsMeanwhile(records) { return .elsewhere }
            let seen = records[record]
            return seen.exitStatus != nil || seen.launchError != nil || seen.rubbish != nil ? .lost : nil
        }
        var outcome = supervisor!.records.wait(until: deadline(after: Self.startSeconds / 2), for: look)
        if outcome == nil {
            reporter.warning("waiting for host \(hostName), module \(simulation.modules[index].name) to \(what)")
            let rest = waitsForEver ? 0 : Self.startSeconds / 2
            outcome = supervisor!.records.wait(until: deadline(after: rest), for: look)
        }
        switch outcome {
        case .result(let result): return result
        case .lost: throw lost(index, frame: frame)
        case .elsewhere: throw lossFailure(frame: frame ?? segment!.frame)
        case nil:
            throw failure(.timeout, index, "did not \(what) within \(shortest(Self.startSeconds)) s", frame: frame)
        }
    }

    // MARK: Failures

    func record<Result>(_ index: Int, _ body: (ProcessRecord) -> Result) -> Result {
        supervisor!.records.with { body($0[Int(processes[index]!.id)]) }
    }

    private func exitStatus(_ index: Int) -> Int32? { record(index) { $0.exitStatus } }

    func isLost(_ index: Int) -> Bool {
        record(index) { $0.isLoss(ofFreeScript: plan?.modules[index].isFree == true) }
    }

    /// The first module that is gone and whose loss ends the run.
    private var fatalLoss: Int? { recordOrder.first { guards?.place(of: $0) == nil && isLost($0) } }

    private func throwIfLost(frame: UInt64?) throws {
        if let index = fatalLoss { throw lost(index, frame: frame) }
    }

    /// Who made the barrier report a fault.
    func lossFailure(frame: UInt64) -> RunFailure {
        for index in recordOrder where guards?.place(of: index) == nil && segment!.status(ofModule: index) != 0 {
            return statusFailure(index, segment!.status(ofModule: index), reason(of: index), frame: frame)
        }
        if let index = fatalLoss { return lost(index, frame: frame) }
        if isAbandoned { return abandoned(frame) }
        return RunFailure(
            .protocolError, host: hostName, frame: frame, cause: "the barrier failed for no known reason")
    }

    private func linkFailure(_ fault: LinkFault, frame: UInt64) -> RunFailure {
        switch fault {
        case .alarm:
            if fatalLoss != nil { return lossFailure(frame: frame) }
            if isAbandoned { return abandoned(frame) }
            return RunFailure(.lost, host: hostName, frame: frame, cause: "lost its links to other hosts")
        case .interrupted:
            return RunFailure(.refused, host: hostName, frame: frame, cause: "was told to end")
        case .protocolError(let peer, let cause):
            return RunFailure(
                .protocolError, host: peerName(peer), frame: frame, cause: "\(cause) (host \(hostName) says so)")
        case .silent(let peer, let seconds):
            return RunFailure(
                .timeout, host: peerName(peer), frame: frame,
                cause: "has not sent its values within \(shortest(seconds)) s")
        case .unreachable(let peer):
            var failure = RunFailure(
                .lost, host: hostName, frame: frame, cause: "lost its link to host \(peerName(peer))")
            failure.peer = peerName(peer)
            return failure
        }
    }

    private func peerName(_ index: Int) -> String { (plan?.hosts[index] ?? nil) ?? "desk" }

    /// The reason travels by FIFO, ahead of the status: it is there or about to be.
    func reason(of index: Int) -> String {
        supervisor!.records.wait(until: deadline(after: 0.2)) { $0[Int(self.processes[index]!.id)].stepReason } ?? ""
    }

    func lost(_ index: Int, frame: UInt64?) -> RunFailure {
        if isAbandoned { return abandoned(frame) }
        lifecycles.with { _ = $0[index].handle(.fail) }
        let seen = record(index) { $0 }
        if let rubbish = seen.rubbish { return failure(.protocolError, index, rubbish, frame: frame) }
        if let code = seen.launchError {
            return failure(
                .launch, index,
                "can't be started: \(simulation.modules[index].program): \(String(cString: strerror(code)))")
        }
        let status = seen.exitStatus ?? 0
        let number = keeper_status_signal(status)
        if number != 0 {
            return failure(.signal, index, "ended by \(signalWords(number))", frame: frame)
        }
        let before = seen.announcement == nil && !seen.isFree ? " before it announced its signals" : ""
        return failure(.exit, index, "exited with code \(keeper_status_code(status))\(before)", frame: frame)
    }

    private func abandoned(_ frame: UInt64?) -> RunFailure {
        RunFailure(.refused, frame: frame, cause: "interrupted while waiting for modules")
    }

    private func callFailure(_ index: Int, _ call: String, _ status: Int32, _ reason: String) -> RunFailure {
        lifecycles.with { _ = $0[index].handle(.fail) }
        return failure(.status, index, "\(call) returned \(status)\(reason.isEmpty ? "" : ": \(reason)")")
    }

    func timeoutFailure(_ index: Int, _ seconds: Double, frame: UInt64) -> RunFailure {
        failure(.timeout, index, "did not finish its step within \(shortest(seconds)) s", frame: frame)
    }

    func statusFailure(_ index: Int, _ status: Int32, _ reason: String, frame: UInt64) -> RunFailure {
        lifecycles.with { _ = $0[index].handle(.fail) }
        return failure(
            .status, index, "step returned \(status)\(reason.isEmpty ? "" : ": \(reason)")", frame: frame)
    }

    func failure(_ code: RunFailure.Code, _ index: Int, _ cause: String, frame: UInt64? = nil) -> RunFailure {
        let lines = processes[index] == nil || supervisor == nil ? [] : record(index) { Array($0.lastLines.suffix(4)) }
        return RunFailure(
            code, module: simulation.modules[index].name, host: hostName, frame: frame, cause: cause,
            lastLines: lines)
    }
}

private enum Awaited<Result> {
    case result(Result)
    case lost
    /// Another module ends the run.
    case elsewhere
}

/// 5 rather than 5.0.
private func shortest(_ seconds: Double) -> String {
    seconds == seconds.rounded() && abs(seconds) < 1e9 ? "\(Int(seconds))" : "\(seconds)"
}
