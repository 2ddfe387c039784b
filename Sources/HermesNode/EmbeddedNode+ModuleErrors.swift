import CHermes
import CKeeper
import Glibc
import HermesBackplane
import HermesModel
import HermesProtocol
import HermesSystem
import Synchronization

/// What `on_module_error: hold` and `restart` do on this host. All of it happens on the thread that runs the frames, while
/// simulation time waits.
extension EmbeddedNode {
    /// Seconds a process and what it has started have to end after SIGTERM, in which its module reaches its safe state, and
    /// after SIGKILL.
    private static let safeStateSeconds = 1.8, deathSeconds = 2.5

    // MARK: In a frame

    /// Looks at the guarded modules:
    /// 1. Phases that are not released yet wait. True is returned when a module of theirs is gone, for it will not call for
    ///    the next look.
    /// 2. Who has failed in its step is held, or is started again and asked once more.
    /// 3. Who has made its step saves its state, where a restart may want it.
    /// 4. When all of a phase have answered, the node leaves the phase for them.
    func lookAtGuarded(frame: UInt64) throws -> Bool {
        let guards = guards!, segment = segment!
        let hasLosses = noteLosses()
        var isEarly = false
        for post in guards.posts.indices where !guards.isFinished[post] {
            var isDue = false, isReleased = true
            for place in guards.posts[post].members where guards.entries[place].isDue {
                isDue = true
                let index = guards.entries[place].index
                guard !segment.isReleased(module: index) else { continue }
                isReleased = false
                if hasLosses && guards.lost.contains(index) { isEarly = true }
            }
            guard isDue && isReleased else { continue }
            var isWaiting = false
            for place in guards.posts[post].members where guards.entries[place].isDue {
                guard !guards.entries[place].hasAnswered else { continue }
                switch answer(of: place, frame: frame) {
                case .done: continue
                case .none: isWaiting = true
                case .failure(let failure):
                    try fail(place, failure, frame: frame, isStepping: true)
                    if !guards.entries[place].hasAnswered { isWaiting = true }
                }
            }
            guard try !isWaiting && saveStates(post, frame: frame) else { continue }
            guards.isFinished[post] = true
            segment.finishWork(phase: guards.posts[post].phase)
        }
        return isEarly
    }

    /// Deals with a module whose step went wrong before the node's eyes; false when that ends the run.
    func endures(_ fault: FrameFault, frame: UInt64) throws -> Bool {
        let index: Int, cause: RunFailure
        switch fault {
        case .inproc(let module, let status):
            (index, cause) = (module, statusFailure(module, status, inproc[module]!.reason, frame: frame))
        case .timedOut(let module, let seconds):
            (index, cause) = (module, timeoutFailure(module, seconds, frame: frame))
        default: return false
        }
        guard let place = guards?.place(of: index) else { return false }
        try fail(place, cause, frame: frame, isStepping: true)
        return true
    }

    private enum Answer {
        case none, done
        case failure(RunFailure)
    }

    /// How far a module is with its step. Asked once a look: it goes on meanwhile.
    private func answer(of place: Int, frame: UInt64) -> Answer {
        let index = guards!.entries[place].index
        if segment!.isOwed(byModule: index) {
            return guards!.lost.contains(index) ? .failure(lost(index, frame: frame)) : .none
        }
        let status = segment!.status(ofModule: index)
        return status == 0 ? .done : .failure(statusFailure(index, status, reason(of: index), frame: frame))
    }

    // MARK: Between frames

    /// Deals with guarded modules that were lost after their step; `frame` is the next one they would have made.
    func attendLosses(frame: UInt64) throws {
        guard let guards, noteLosses() else { return }
        for place in guards.entries.indices where guards.lost.contains(guards.entries[place].index) {
            let failure = lost(guards.entries[place].index, frame: frame)
            try fail(place, failure, frame: frame, isStepping: false)
        }
    }

    /// Learns who is gone; true when somebody is who was not dealt with yet. One load when nobody is.
    private func noteLosses() -> Bool {
        let guards = guards!
        let count = losses.count
        if count != lossesSeen {
            lossesSeen = count
            guards.lost = Set(
                guards.entries.filter { !$0.isInproc && !$0.isHeld && isLost($0.index) }.map(\.index))
        }
        return !guards.lost.isEmpty
    }

    // MARK: What is done about it

    private func fail(_ place: Int, _ failure: RunFailure, frame: UInt64, isStepping: Bool) throws {
        let entry = guards!.entries[place]
        guards!.lost.remove(entry.index)
        // A process without its keeper is ending, and no other can be started.
        if !entry.isInproc && record(entry.index, { $0.isOrphaned }) { throw failure }
        if entry.policy == .hold {
            try hold(place, failure, frame: frame, isStepping: isStepping)
        } else {
            try restart(place, failure, frame: frame, isStepping: isStepping)
        }
    }

    private func hold(_ place: Int, _ failure: RunFailure, frame: UInt64, isStepping: Bool) throws {
        let guards = guards!, index = guards.entries[place].index
        guards.putAside(place)
        // Nobody steps it any more, so what it drives goes to its safe state now. One inside the node is told at the end.
        if !guards.entries[place].isInproc { try quit(index) }
        guards.takeUp(place)
        if isStepping { guards.putBack(place) }
        guards.entries[place].isHeld = true
        guards.entries[place].hasAnswered = true
        segment!.hold(module: index, frame: frame)
        lifecycles.with { _ = $0[index].handle(.hold) }
        tell(
            ModuleError(
                .held, module: simulation.modules[index].name, host: hostName, epoch: epoch, frame: frame,
                cause: failure.cause, differsFrom: frame),
            "\(failure); it is held: its outputs stay as they are")
    }

    /// Starts its process again, over and over until one stages or the ladder ends; then has it make its step.
    private func restart(_ place: Int, _ failure: RunFailure, frame: UInt64, isStepping: Bool) throws {
        let guards = guards!, index = guards.entries[place].index
        var failure = failure
        let remembers = guards.entries[place].state != nil
        guards.putAside(place)
        while true {
            guard let pause = guards.entries[place].ladder.fail() else {
                failure.cause +=
                    "; it had been started again \(simulation.execution.restartLimit) times (`restart_limit`)"
                throw failure
            }
            let count = guards.entries[place].ladder.restarts
            lifecycles.with { _ = $0[index].handle(.restart) }
            tell(
                ModuleError(
                    .restarted, module: simulation.modules[index].name, host: hostName, epoch: epoch, frame: frame,
                    cause: failure.cause, restart: count, differsFrom: remembers ? nil : frame),
                "\(failure); starting it again, \(count) of at most \(simulation.execution.restartLimit) times")
            do {
                try quit(index)
                segment!.renew(module: index, frame: frame, restarts: count)
                try rest(seconds: pause, frame: frame)
                try startAgain(place, frame: frame)
                break
            } catch let next as RunFailure where next.module?.bytes == failure.module?.bytes && Self.mayPass(next.code)
            {
                failure = next
                failure.frame = frame
            }
        }
        // Staging has stored over all of it.
        guards.takeUp(place)
        if isStepping { guards.putBack(place) }
        segment!.endRenewal(ofModule: index)
        lifecycles.with { _ = $0[index].handle(shown == nil ? .stage : shown == .running ? .run : .pause) }
        reporter.warning(
            "module \(simulation.modules[index].name) on host \(hostName) goes on with frame \(frame) "
                + (remembers
                    ? "from the state it had saved"
                    : "as it was staged, for it has saved no state: results differ from this frame on"))
        guard isStepping else { return }
        guards.entries[place].askedAgain = monotonicNow()
        segment!.stepAgain(module: index)
    }

    /// What may be otherwise the next time.
    private static func mayPass(_ code: RunFailure.Code) -> Bool {
        switch code {
        case .launch, .exit, .signal, .status, .timeout, .protocolError: true
        case .announce, .resource, .refused, .lost: false
        }
    }

    /// A process in place of the one that has ended, as far on as that was after its last step.
    private func startAgain(_ place: Int, frame: UInt64) throws {
        let index = guards!.entries[place].index
        isRestarting = true
        defer { isRestarting = false }
        // Ahead of the process: one that is never launched would be waited for at the end.
        let launch = try launchAgain(processes[index]!, index, frame: frame)
        let process = try ModuleProcess(replacing: processes[index]!)
        supervisor!.renew(process)
        processes[index] = process
        try process.launch(launch, keeper: &processKeeper)
        let announced = try awaitRecord(index, doing: "announce its signals", frame: frame) {
            $0.announcement ?? ($0.isFree ? [] : nil)
        }
        guard announced == announcedBytes[index] else {
            throw failure(
                .announce, index,
                "was started again and announces other signals than before: it no longer fits the run",
                frame: frame)
        }
        let pid = try awaitRecord(index, doing: "start", frame: frame) { $0.pid != 0 ? $0.pid : nil }
        segment!.setProcess(pid, ofModule: index)
        try initialise([index])
        try expectSuccess(index, try send(Int(HERMES_STAGE), to: index), "stage")
        segment!.setReady(module: index)
        if let state = guards!.entries[place].state {
            try expectSuccess(index, try send(Int(HERMES_LOAD), to: index, body: state), "load")
        }
    }

    /// As it was launched first, also where its program's path leads to another one by now.
    private func launchAgain(_ process: ModuleProcess, _ index: Int, frame: UInt64) throws -> ModuleLaunch {
        var launch = try launchOf(process, index)
        do throws(LaunchedFiles.Changed) {
            guard let program = try launchedFiles[index]?.replacement() else { return launch }
            reporter.warning(
                "module \(process.module.name) on host \(hostName): its program \(process.module.program) has changed since the "
                    + "run began; it is started again as it was then")
            launch.arguments[0] = program
            return launch
        } catch {
            throw failure(.refused, index, "is not started again: \(error)", frame: frame)
        }
    }

    /// Has a module's process end, if it lives, and all it has started: its module gets its second, then they are killed.
    private func quit(_ index: Int) throws {
        let process = processes[index]!, id = process.id
        func isGone(within seconds: Double) -> Bool {
            supervisor!.records.wait(until: deadline(after: seconds)) { $0[Int(id)].isGone ? true : nil } ?? false
        }
        if record(index, { $0.exitStatus == nil && $0.launchError == nil }) {
            keeper_terminate(&processKeeper, id)
            process.hangUp()
        }
        defer { if let failure = refusedSafeState(index) { unsafeModules.append(failure) } }
        if isGone(within: Self.safeStateSeconds) { return }
        reporter.warning("module \(simulation.modules[index].name) did not terminate; killed")
        keeper_kill(&processKeeper, id)
        guard isGone(within: Self.deathSeconds) else {
            throw failure(.resource, index, "does not end though it was killed; the system keeps its process")
        }
    }

    /// Waits before a restart, unless the run ends meanwhile.
    private func rest(seconds: Double, frame: UInt64) throws {
        let isOver = supervisor!.records.wait(until: deadline(after: seconds)) {
            self.endsMeanwhile($0) ? true : nil
        }
        if isOver != nil { throw lossFailure(frame: frame) }
    }

    /// A module failed whose failure ends the run, or nobody wants to wait any more.
    func endsMeanwhile(_ records: [ProcessRecord]) -> Bool {
        isAbandoned
            || records.indices.contains { id in
                let index = recordOrder[id]
                return guards?.place(of: index) == nil && records[id].isLoss(ofFreeScript: plan!.modules[index].isFree)
            }
    }

    private func tell(_ error: ModuleError, _ text: String) {
        errors.withLock { $0.append(error) }
        reporter.warning(text)
        reporter.fired(error)
    }

    // MARK: States

    /// Asks every module that may be started again what it is like at frame 0, and so whether it saves its state at all.
    func saveFirstStates() throws {
        guard let guards else { return }
        for place in guards.entries.indices {
            guard guards.entries[place].policy == .restart, !guards.entries[place].isHeld else { continue }
            guards.entries[place].savesState = true
            try receiveState(place, try askForState(place))
        }
    }

    /// After the step, before anybody else sees what it gave: no moment is left in which a process that dies takes along
    /// what nobody else has. False when one failed at it, and is to make its step once more.
    private func saveStates(_ post: Int, frame: UInt64) throws -> Bool {
        let guards = guards!
        var asked: [Int: UInt32] = [:]
        var isComplete = true
        func attempt(_ place: Int, _ body: () throws -> Void) throws {
            do {
                try body()
            } catch var failure as RunFailure
                where failure.module?.bytes == simulation.modules[guards.entries[place].index].name.bytes
                && Self.mayPass(failure.code)
            {
                failure.frame = frame
                try fail(place, failure, frame: frame, isStepping: true)
                isComplete = false
            }
        }
        for place in guards.posts[post].members {
            guard guards.entries[place].isDue, !guards.entries[place].hasAnswered else { continue }
            if guards.entries[place].savesState {
                try attempt(place) { asked[place] = try askForState(place) }
            } else {
                finish(place)
            }
        }
        for (place, sequence) in asked {
            try attempt(place) {
                try receiveState(place, sequence)
                finish(place)
            }
        }
        return isComplete
    }

    private func finish(_ place: Int) {
        guards!.entries[place].hasAnswered = true
        guards!.entries[place].ladder.step()
    }

    private func askForState(_ place: Int) throws -> UInt32 {
        try send(Int(HERMES_SAVE), to: guards!.entries[place].index)
    }

    private func receiveState(_ place: Int, _ sequence: UInt32) throws {
        let guards = guards!, index = guards.entries[place].index
        let saved = try awaitRecord(index, doing: "save its state") { $0.states.removeValue(forKey: sequence) }
        guards.entries[place].state = saved.status == 0 ? saved.bytes : nil
        // -1: it has nothing to save it with.
        if saved.status == -1 { guards.entries[place].savesState = false }
    }
}

/// How often a guarded module's process was lost, counted by the thread that hears of it.
final class LossCounter: Sendable {
    private let word = Atomic<UInt32>(0)

    var count: UInt32 { word.load(ordering: .acquiring) }
    func add() { word.add(1, ordering: .releasing) }
}
