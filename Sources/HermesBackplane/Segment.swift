import CHermes
import Glibc
import HermesModel
import HermesPlan

/// One host's segment: the values of its signals, the barrier of its modules, and what outsiders ask of it.
///
/// The node that makes a segment owns it: it alone writes signals between frames. `attention`, `fault`,
/// `look` and `setState` may be called from any thread, everything else from the thread that runs the frames.
public final class Segment: @unchecked Sendable {
    public let name: String
    /// What C functions take; lives as long as this object.
    let view: UnsafeMutablePointer<hermes_view>
    public let signalCount: Int
    private let inboxCount: Int
    private let hasGathers: Bool
    /// False while the name in /dev/shm is this object's to remove.
    private var isUnlinked = true

    /// Makes the segment `name` ("/hermes_sim") for a plan without other hosts.
    public convenience init(name: String, plan: Plan, run: UInt64) throws {
        try self.init(name: name, share: HostShare(whole: plan), run: run)
    }

    /// Makes the segment `name` ("/hermes_sim") for a host's share, mode 0600, locked while this process lives.
    /// - Throws: `SegmentError` when a living process owns that name or /dev/shm has no room.
    public init(name: String, share: HostShare, run: UInt64) throws {
        let layout = try SegmentLayout(share)
        self.name = name
        signalCount = share.plan.registry.signals.count
        inboxCount = share.inboxCount
        hasGathers = !share.gathers.isEmpty
        view = .allocate(capacity: 1)
        view.initialize(to: hermes_view())
        guard hermes_segment_create(view, name, layout.total) == 0 else {
            throw SegmentError(String(cString: hermes_last_error()))
        }
        isUnlinked = false
        SegmentWriter(base: view.pointee.base, layout: layout).write(share, run: run)
        // Who may open it may write over it: from here on this object believes its own copies.
        if let fault = hermes_view_fault(view) {
            throw SegmentError("the segment \(name) was written over while it was made: \(String(cString: fault))")
        }
        guard hermes_view_keep(view) == 0 else { throw SegmentError(String(cString: hermes_last_error())) }
    }

    deinit {
        unlink()
        hermes_view_close(view)
        view.deallocate()
    }

    /// Removes the name; who has the segment open keeps the memory.
    public func unlink() {
        if !isUnlinked { hermes_segment_unlink(name) }
        isUnlinked = true
    }

    // MARK: Values

    /// The slots, 8 bytes a signal, in directory order.
    public var slots: UnsafeMutablePointer<UInt64> { view.pointee.data }
    /// Copies everything that other hosts get into the outbox, as at the start of an epoch.
    public func gatherAll() { if hasGathers { hermes_gather(view, view.pointee.phase_count) } }
    /// Delivers every wire at once, as at the start of an epoch; what other hosts sent is in the inbox by now.
    public func deliverAll() { hermes_deliver(view, view.pointee.phase_count) }
    /// Values from other hosts, 8 bytes each.
    public var inbox: UnsafeMutablePointer<UInt64> { view.pointee.data + signalCount }
    /// Values for other hosts, 8 bytes each.
    public var outbox: UnsafeMutablePointer<UInt64> { inbox + inboxCount }

    /// How long waits may spin before they sleep (CHermes/spin.h); 0: not at all.
    public func permitSpin(nanoseconds: UInt32) { hermes_barrier_permit_spin(view, nanoseconds) }

    // MARK: Frame edges

    public var frame: UInt64 { view.pointee.own.frame }
    public func publish(frame: UInt64, time: Double) { hermes_edge_publish(view, frame, time) }
    /// A reset begins: modules that ask for the frame see 0.
    public func beginReset() { hermes_edge_begin_reset(view) }
    /// The values of frame 0 are there: everybody sees the new epoch.
    public func beginEpoch() { hermes_edge_new_epoch(view) }
    public var epoch: UInt32 { view.pointee.own.epoch }
    /// Whether `applyWrites` has something to apply.
    public var hasWritesWaiting: Bool { hermes_edge_writes_wait(view) != 0 }
    /// Applies what was set from outside; the number of values.
    @discardableResult public func applyWrites() -> UInt64 { hermes_edge_apply_writes(view) }
    public func serveSnapshot() { hermes_edge_serve_snapshot(view) }
    public var attention: UInt32 { hermes_edge_attention_seen(view) }
    public func raiseAttention() { hermes_edge_attention(view) }
    /// True when attention moved on from `seen`, false at the deadline (CLOCK_MONOTONIC nanoseconds).
    public func sleep(seen: UInt32, until deadline: UInt64) -> Bool { hermes_edge_sleep(view, seen, deadline) == 1 }
    public func setState(_ state: SegmentState) { hermes_edge_set_state(view, state.rawValue) }

    // MARK: Barrier

    public enum Wait: Sendable, Equatable {
        case complete
        /// The phase waits for the node's own work.
        case work(phase: Int)
        /// The modules of the phase are done; values go to other hosts or come from them.
        case exchange(phase: Int)
        /// A guarded module has made its step or is gone.
        case guarded
        case fault, deadline
        /// What the segment says can't be: something wrote over it.
        case broken
    }

    /// How a frame that is complete by the segment's words really went.
    public enum Verdict: Sendable, Equatable {
        case sound
        /// The module has not made its step, or failed in it.
        case missing(module: Int)
        /// The barrier's words are not what the frame leaves behind.
        case broken
    }

    public func beginFrame(_ frame: UInt64) { hermes_barrier_begin(view, frame) }
    public func waitForFrame(until deadline: UInt64) -> Wait {
        var phase: UInt32 = 0
        switch Int(hermes_barrier_wait(view, deadline, &phase)) {
        case Int(HERMES_WAIT_COMPLETE): return .complete
        case Int(HERMES_WAIT_NODE_WORK): return .work(phase: Int(phase))
        case Int(HERMES_WAIT_EXCHANGE): return .exchange(phase: Int(phase))
        case Int(HERMES_WAIT_GUARD): return .guarded
        case Int(HERMES_WAIT_FAULT): return .fault
        case Int(HERMES_WAIT_BROKEN): return .broken
        default: return .deadline
        }
    }
    /// The node has done its work of the phase, or the guarded modules of the phase have answered: one call for each of both.
    public func finishWork(phase: Int) { hermes_barrier_finish_work(view, UInt32(phase)) }
    public func finishExchange(phase: Int) { hermes_barrier_finish_exchange(view, UInt32(phase)) }
    /// Holds a complete frame against what this host knows of it. Guarded modules are left out: those the node counts itself.
    @inline(__always) public func verify() -> Verdict {
        let verdict = hermes_barrier_verify(view)
        if verdict == Int64(HERMES_FRAME_SOUND) { return .sound }
        return verdict < 0 ? .broken : .missing(module: Int(verdict))
    }
    /// What of the segment something else than this host wrote over ("its directory"); nil for nothing. Not of values. Goes
    /// through all of it.
    public var damage: String? { hermes_view_damage(view).map { String(cString: $0) } }
    /// The queue of writes from outside, what modules are told by, or the file as a whole can't be used any more.
    public var isBroken: Bool {
        view.pointee.own.broken_queue | view.pointee.own.broken_words != 0 || hermes_view_is_lost(view) != 0
    }
    public func raiseFault() { hermes_barrier_fault(view) }
    /// Has `waitForFrame` say that guarded modules want a look.
    public func raiseLook() { hermes_barrier_look(view) }

    // MARK: Modules

    /// Hands the mapped segment to a module inside this process; false when it does not fit.
    public func bind(_ body: (UnsafeMutablePointer<hermes_view>, Int) -> Int32, index: Int) -> Bool {
        body(view, index) == 0
    }
    public func setProcess(_ pid: Int32, ofModule module: Int) { view.pointee.modules[module].pid = UInt32(pid) }
    /// Tells a staged module that a command waits in its FIFO.
    public func announceCommand(toModule module: Int) {
        hermes_add_command(view, UInt32(module))
    }
    /// The module has said that it is staged.
    public func setReady(module: Int) { hermes_module_set_ready(view, UInt32(module)) }
    public func isReady(module: Int) -> Bool { hermes_module_ready(view, UInt32(module)) != 0 }
    /// Wakes a module that is late, and may sleep where the segment says that nobody does.
    public func rouse(module: Int) { hermes_barrier_rouse(view, UInt32(module)) }
    public func status(ofModule module: Int) -> Int32 { view.pointee.modules[module].status }
    /// The module has been released for the frame under way and has not answered.
    public func isOwed(byModule module: Int) -> Bool { hermes_module_owes_step(view, UInt32(module)) != 0 }
    /// The module has been released for the frame under way.
    public func isReleased(module: Int) -> Bool {
        hermes_module_asked(view, UInt32(module)) == view.pointee.own.generation
    }
    /// The module is due in the frame under way and has not answered: by what this host knows, whether released or not.
    public func owes(module: Int) -> Bool { hermes_barrier_owes(view, UInt32(module)) != 0 }
    /// CLOCK_MONOTONIC nanoseconds of the phase's last release.
    public func releaseTime(ofPhase phase: Int) -> UInt64 { view.pointee.phases[phase].released_ns }
    /// CLOCK_MONOTONIC nanoseconds of a module's last step, as it stamped them itself.
    public func stepTimes(ofModule module: Int) -> (begin: UInt64, end: UInt64) {
        (view.pointee.modules[module].begin_ns, view.pointee.modules[module].end_ns)
    }
    /// The same of a module inside this process.
    public func stamp(module: Int, begin: UInt64, end: UInt64) {
        view.pointee.modules[module].begin_ns = begin
        view.pointee.modules[module].end_ns = end
    }
}

extension Segment {
    // MARK: Modules whose failure does not end the run

    /// Says what a failure of the module does. A process is guarded from then on: it answers to the node, which counts it
    /// out of its phase. Before anybody steps.
    public func setGuard(_ policy: ErrorPolicy, ofModule module: Int) {
        let word =
            switch policy {
            case .stop: HERMES_GUARD_NONE
            case .hold: HERMES_GUARD_HOLD
            case .restart: HERMES_GUARD_RESTART
            }
        view.pointee.modules[module].guard = UInt32(word)
        view.pointee.module_plans[module].guard = UInt32(word)
    }

    /// The module owes nothing any more and is not released again; everybody who looks sees since which frame. Only
    /// between frames, or once its phase has been released.
    public func hold(module: Int, frame: UInt64) {
        view.pointee.modules[module].error_frame = frame
        hermes_barrier_hold(view, UInt32(module))
    }

    /// Its process is about to be started again: it owes nothing and is not ready.
    public func renew(module: Int, frame: UInt64, restarts: Int) {
        hermes_barrier_renew(view, UInt32(module))
        view.pointee.modules[module].error_frame = frame
        view.pointee.modules[module].restarts = UInt32(clamping: restarts)
        view.pointee.modules[module].condition = UInt32(HERMES_CONDITION_RESTARTING)
    }

    /// Its process is as ready as it was.
    public func endRenewal(ofModule module: Int) {
        view.pointee.modules[module].condition = UInt32(HERMES_CONDITION_SOUND)
    }

    /// Asks a module that owes nothing for the step of the frame under way once more.
    public func stepAgain(module: Int) { hermes_barrier_step_again(view, UInt32(module)) }
}

/// What a simulation is doing, as everybody who opens the segment sees it.
public enum SegmentState: UInt32, Sendable {
    case staging = 1, running = 2, paused = 3, ended = 4
}
