import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming
import Synchronization

/// The master scheduler's loop. It owns nothing but what a frame needs; everything else is done at the edges.
struct FrameScheduler {
    let node: any NodeSession
    let observers: [any FrameObserver]
    let mailbox: CommandMailbox
    let visits: EdgeVisits
    let progress: RunProgress
    let plan: Plan
    var state: RunState
    var pacer: Pacer
    private(set) var times = TurnTimes()
    /// Nil where nobody wants a timeline.
    private let trace: TraceRing?
    /// Told of the first few overruns, with the timeline around them.
    private let onOverrun: (_ frame: UInt64) -> Void
    /// When this turn could begin, CLOCK_MONOTONIC nanoseconds.
    private var turnBegan: UInt64 = 0
    private var attentionSeen: UInt32
    private var isShownPaused = false
    private var isPacing = false
    /// The earliest frame that somebody who asked for steps waits for.
    private var awaitedFrame = UInt64.max
    /// While frames run, outsiders who look at values have had their share of the time up to here, CLOCK_MONOTONIC nanoseconds.
    private var visitsDue: UInt64 = 0
    /// What they get of it: one part in so many.
    private static let visitShare: UInt64 = 20

    init(
        node: any NodeSession, observers: [any FrameObserver], mailbox: CommandMailbox, visits: EdgeVisits,
        progress: RunProgress,
        plan: Plan, realtime: Realtime,
        state: RunState, trace: TraceRing? = nil, onOverrun: @escaping (_ frame: UInt64) -> Void = { _ in }
    ) {
        self.trace = trace
        self.onOverrun = onOverrun
        self.node = node
        self.observers = observers
        self.mailbox = mailbox
        self.visits = visits
        self.progress = progress
        self.plan = plan
        self.state = state
        pacer = Pacer(rateHz: plan.rateHz, onOverrun: realtime.onOverrun, graceSeconds: realtime.graceSeconds)
        // One less than now, so that the first edge looks.
        attentionSeen = node.attention &- 1
    }

    /// Until the end, over and over:
    /// 1. At a frame edge that no host has passed, see to what outsiders want; one load when nobody wants anything.
    /// 2. In realtime sleep until the frame's absolute start; a command wakes it.
    /// 3. Have the node run the frame; over several hosts it may run on, as far as nobody is to interfere.
    /// 4. Show each completed frame to recorder and digest.
    /// 5. In realtime end the run if the frame came too late and that is what was asked for.
    mutating func run() throws -> RunOutcome {
        try observe(frame: 0)
        turnBegan = monotonicNow()
        while true {
            let overruns = pacer.overruns
            var advancing = turnBegan
            let isWanted =
                node.attention != attentionSeen
                || visits.areWaiting && (turnBegan >= visitsDue || state.next == .wait)
            let isUnderWay = node.grantedFrame > state.frame
            if isWanted && !isUnderWay {
                try attend()
                advancing = monotonicNow()
            }
            switch state.next {
            case .run(let frame):
                if state.isPaced {
                    guard waitForStart(of: frame) else { continue }
                    advancing = turnBegan
                }
                defer { if state.frame >= awaitedFrame { settle() } }
                do {
                    try node.advance(from: frame, through: isWanted && isUnderWay ? node.grantedFrame : state.limit)
                } catch {
                    try complete(from: frame)
                    throw error
                }
                let advanced = monotonicNow()
                let verdict = isPacing ? pacer.ended(frame, now: advanced) : .goOn
                try complete(from: frame)
                let ended = monotonicNow()
                if let trace { take(note: trace, of: frame, advancing: advancing, advanced: advanced, ended: ended) }
                if pacer.overruns > overruns { onOverrun(frame) }
                times.record(
                    began: turnBegan, advancing: advancing, advanced: advanced, ended: ended, last: state.frame,
                    count: state.frame &+ 1 &- frame, granted: max(node.grantedFrame, state.frame), epoch: node.epoch)
                turnBegan = ended
                if case .stop(let late) = verdict { throw overrun(frame, late) }
            case .wait:
                // What was put off for the sake of frames has its turn once none are to run.
                if isUnderWay || !visits.areWaiting { waitForCommand() }
                turnBegan = monotonicNow()
            case .reset:
                try reset()
                turnBegan = monotonicNow()
            case .end(let outcome):
                try node.conclude()
                return outcome
            }
        }
    }

    private func take(
        note trace: TraceRing, of first: UInt64, advancing: UInt64, advanced: UInt64, ended: UInt64
    ) {
        let epoch = node.epoch, count = Int(truncatingIfNeeded: state.frame &+ 1 &- first)
        trace.add(
            TraceEvent(.advance, begin: advancing, end: advanced, frame: first, epoch: epoch, detail: count))
        trace.add(TraceEvent(.observe, begin: advanced, end: ended, frame: first, epoch: epoch))
    }

    /// Takes note of the frames that an advance has completed, one by one.
    private mutating func complete(from first: UInt64) throws {
        let last = node.completedFrame
        guard last >= first else { return }
        for frame in first...last {
            node.recall(frame)
            state.completed(frame)
            try observe(frame: frame)
        }
    }

    private func observe(frame: UInt64) throws {
        try tellObservers(frame: frame)
        progress.completed(frame)
    }

    private func tellObservers(frame: UInt64) throws {
        let time = Double(frame) / plan.rateHz
        for observer in observers { try observer.completed(frame: frame, time: time, slots: node.slots) }
    }

    /// False when something woke it first: the edge comes again.
    private mutating func waitForStart(of frame: UInt64) -> Bool {
        if !isPacing {
            pacer.restart(now: monotonicNow(), completed: frame - 1)
            isPacing = true
        }
        var now = monotonicNow(), hasSlept = false
        let slept = now
        while true {
            let start = pacer.due(frame, now: now)
            if now >= start { break }
            hasSlept = true
            if node.sleep(seen: attentionSeen, until: start) { return false }
            now = monotonicNow()
        }
        node.expectStart(at: pacer.start(of: frame))
        pacer.began(frame, now: now, hasSlept: hasSlept)
        trace?.add(TraceEvent(.pace, begin: slept, end: now, frame: frame, epoch: node.epoch))
        turnBegan = now
        return true
    }

    private func overrun(_ frame: UInt64, _ lateNanoseconds: UInt64) -> RunFailure {
        let late = Double(lateNanoseconds / 1000) / 1000
        return RunFailure(
            .timeout, frame: frame,
            cause: "it ended \(late) ms after its deadline, which ends the run (`on_overrun: stop`); "
                + "`--profile` and `timing.worst_frame` of the summary say whose time it was")
    }

    private mutating func waitForCommand() {
        isPacing = false
        _ = node.sleep(seen: attentionSeen, until: .max)
    }

    private mutating func show(paused: Bool) {
        isShownPaused = paused
        node.show(paused ? .paused : .running)
        progress.isPaused = paused
    }

    private mutating func settle() { awaitedFrame = mailbox.settle(frame: state.frame) }

    private mutating func attend() throws {
        attentionSeen = node.attention
        try node.atEdge()
        makeVisits()
        var early: [CommandMailbox.Ticket] = []
        for ticket in mailbox.take() {
            let command = ticket.command
            // What was asked after a reset is meant for the epoch that it opens.
            if state.next == .reset && command != .stop {
                early.append(ticket)
                continue
            }
            let modeBefore = state.mode, wasPaced = state.isPaced
            do throws(RunState.Refusal) {
                try state.handle(command)
            } catch {
                mailbox.refuse(ticket, error.description)
                continue
            }
            if case .step = command { mailbox.expect(ticket, frame: state.stepTarget) } else { mailbox.expect(ticket) }
            if state.isPaused {
                mailbox.refuseSteps(beyond: state.stepTarget, "cancelled by \(command.word) at frame \(state.frame)")
            }
            // A pause and another mode start deadlines anew; what changes nothing leaves them alone.
            if state.isPaced != wasPaced || state.mode != modeBefore {
                isPacing = false
                node.expectStart(at: 0)
            }
            if state.mode != modeBefore {
                progress.mode = state.mode
                for observer in observers { observer.modeChanged(isRealtime: state.mode == .realtime) }
            }
        }
        mailbox.putBack(early)
        // Shown before it is answered: who asked finds what was asked for.
        if isShownPaused != state.isPaused { show(paused: state.isPaused) }
        settle()
    }

    /// Of the time of frames that run, visits get a small part, however many come: those that are left wait for later edges.
    private mutating func makeVisits() {
        guard visits.areWaiting else { return }
        let began = monotonicNow()
        let isIdle = state.next == .wait
        guard isIdle || began >= visitsDue else { return }
        visits.make(node, frame: state.frame)
        let ended = monotonicNow()
        visitsDue = ended &+ (ended &- began) &* Self.visitShare
        // With no frames to run there is nothing else to do.
        if isIdle && visits.areWaiting { attentionSeen = node.attention &- 1 }
    }

    private mutating func reset() throws {
        mailbox.refuseSteps(beyond: 0, "cancelled by \(RunCommand.reset.word) at frame \(state.frame)")
        try node.reset()
        state.didReset()
        isPacing = false
        for observer in observers {
            try observer.begin(plan, epoch: node.epoch, isRealtime: state.mode == .realtime)
        }
        try tellObservers(frame: 0)
        progress.begin(epoch: node.epoch)
        node.expectStart(at: 0)
        mailbox.settleReset()
        // Commands that waited for the reset have nobody else to call attention to them.
        attentionSeen = node.attention &- 1
    }
}
