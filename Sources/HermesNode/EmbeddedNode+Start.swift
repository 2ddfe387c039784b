import CHermes
import CKeeper
import HermesBackplane
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming
import HermesTransport

// From nothing to modules that are staged: processes, segment, barrier, first values.

extension EmbeddedNode {
    public func launch() throws -> [Announcement] {
        try checkCPUs()
        try startModules()
        announcements = try simulation.modules.indices.map { try announcement(of: $0) }
        return announcements
    }

    /// Everything is made, and somebody reads what the keeper has to say, before the first process starts: two full
    /// sockets would wait for each other.
    func startModules() throws {
        var made: [(index: Int, process: ModuleProcess)] = []
        for (index, module) in simulation.modules.enumerated() {
            if module.kind == .inproc {
                if inproc.isEmpty {
                    keeper_mark(&processKeeper)
                    try inprocWatch.start()
                }
                inproc[index] = try InprocModule(
                    module, index: index, simulationName: simulation.name, watch: inprocWatch)
            } else {
                let process = try ModuleProcess(
                    id: UInt32(made.count), module: module, folder: folder, keeper: &processKeeper)
                made.append((index, process))
            }
        }
        try supervise(made.map(\.process))
        for (index, process) in made {
            if (process.module.onError ?? simulation.execution.onModuleError) == .restart {
                launchedFiles[index] = LaunchedFiles(of: process.module)
            }
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

    func supervise(_ started: [ModuleProcess]) throws {
        let loss = lossTarget, alarm = alarm, losses = losses
        let supervisor = try ProcessSupervisor(
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
        try supervisor.start()
        self.supervisor = supervisor
    }

    func announcement(of index: Int) throws -> Announcement {
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
                longestStepSeconds == 0
                ? 0 : max(longestStepSeconds, Module.ordinaryStartSeconds) * Double(plan.phases.count + 1)
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

    func stage(_ index: Int) throws {
        if let inside = inproc[index] {
            try check(inside.stage(), of: index, inside, "stage")
        } else if !plan!.modules[index].isFree {
            try expectSuccess(index, try send(Int(HERMES_STAGE), to: index), "stage")
            segment!.setReady(module: index)
        }
        lifecycles.with { _ = $0[index].handle(.stage) }
    }

    func deliverFrameZero(epoch: UInt32) throws {
        for (slot, bits) in overrides { segment!.slots[slot] = bits }
        segment!.gatherAll()
        do throws(LinkFault) {
            try mirror?.exchange(phase: plan!.phases.count, frame: 0, epoch: epoch)
        } catch {
            throw linkFailure(error, frame: 0)
        }
        segment!.deliverAll()
    }

    func makeExecutor() -> FrameExecutor {
        let plan = plan!, segment = segment!
        let work = plan.phases.map { members in
            members.compactMap { index in
                inproc[index].map { (index: index, divisor: UInt64(plan.modules[index].divisor), module: $0) }
            }
        }
        let stepped = plan.phases.map { $0.filter { !plan.modules[$0].isInproc && !plan.modules[$0].isFree } }
        let reporter = reporter, hostName = hostName, guards = guards
        let warn = { (module: Int, frame: UInt64) in
            reporter.warning("waiting for host \(hostName), module \(plan.modules[module].name), frame \(frame)")
        }
        return FrameExecutor(
            segment: segment, work: work, mirror: mirror,
            owed: { began in
                // Phases follow each other: only the first that is incomplete has been released.
                for members in stepped {
                    let owing = members.filter { segment.owes(module: $0) && !Self.isHeld($0, guards) }
                    if owing.isEmpty { continue }
                    return owing.filter { segment.isReleased(module: $0) }.map { index in
                        let askedAgain = guards?.place(of: index).map { guards!.entries[$0].askedAgain } ?? 0
                        let released = segment.releaseTime(ofPhase: plan.modules[index].phase)
                        let isLikely = released >= began && released <= monotonicNow()
                        return (index, max(askedAgain, isLikely ? released : began))
                    }
                }
                return []
            },
            guards: guards == nil
                ? nil
                : FrameExecutor.Guards(
                    look: { [unowned self] in try lookAtGuarded(frame: $0) },
                    endures: { [unowned self] in try endures($0, frame: $1) },
                    areComplete: { guards!.areComplete }),
            warn: warn,
            watch: StepWatch(
                timeoutSeconds: simulation.modules.map {
                    $0.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds
                }),
            times: times!)
    }
}
