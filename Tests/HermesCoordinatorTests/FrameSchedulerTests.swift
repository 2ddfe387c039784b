import Dispatch
import HermesModel
import HermesPlan
import HermesProtocol
import Synchronization
import Testing

@testable import HermesCoordinator

/// A scheduler on a thread of its own and a scripted node under it.
private final class Stage: @unchecked Sendable {
    let node = ScriptedNode()
    let progress = RunProgress()
    let mailbox: CommandMailbox
    let visits = EdgeVisits()
    let observer: LoggingObserver
    private let over = DispatchGroup()
    private let outcome = Mutex<Result<RunOutcome, any Error>?>(nil)
    private let replies = Mutex<[Int]>([])

    init() {
        mailbox = CommandMailbox { [node] in node.raiseAttention() }
        observer = LoggingObserver(node)
    }

    private func scheduler(_ mode: Execution.Mode, lastFrame: UInt64?, _ realtime: Realtime) throws -> FrameScheduler {
        let plan = try Planner.plan(
            ScriptedNode.simulation, announcements: [Announcement(signals: node.announced)]
        ).plan
        return FrameScheduler(
            node: node, observers: [observer], mailbox: mailbox, visits: visits,
            progress: progress, plan: plan, realtime: realtime,
            state: RunState(mode: mode, lastFrame: lastFrame))
    }

    /// To its end, here.
    func run(
        _ mode: Execution.Mode = .afap, lastFrame: UInt64? = nil, _ realtime: Realtime = Realtime(graceSeconds: 0)
    ) throws -> (RunOutcome, Pacer) {
        var scheduler = try scheduler(mode, lastFrame: lastFrame, realtime)
        let outcome = try scheduler.run()
        return (outcome, scheduler.pacer)
    }

    func start(_ mode: Execution.Mode = .afap, lastFrame: UInt64? = nil) {
        DispatchQueue(label: "frames").async(group: over) { [self] in
            let result = Result { try run(mode, lastFrame: lastFrame).0 }
            outcome.withLock { $0 = result }
        }
    }

    /// The answer to a command, nil when none comes.
    func command(_ command: RunCommand) -> Result<UInt64, CommandMailbox.CommandRefused>? {
        let answer = post(command)
        return eventually { answer.result != nil } ? answer.result : nil
    }

    final class Answer: Sendable {
        private let results = Mutex<[Result<UInt64, CommandMailbox.CommandRefused>]>([])
        func add(_ result: Result<UInt64, CommandMailbox.CommandRefused>) { results.withLock { $0.append(result) } }
        var count: Int { results.withLock { $0.count } }
        var result: Result<UInt64, CommandMailbox.CommandRefused>? { results.withLock { $0.first } }
        var frame: UInt64? { try? result?.get() }
        var refusal: String? { if case .failure(let refusal) = result { refusal.description } else { nil } }
    }

    func post(_ command: RunCommand) -> Answer {
        let answer = Answer()
        mailbox.post(command) { answer.add($0) }
        return answer
    }

    func end() throws -> RunOutcome {
        over.wait()
        mailbox.close("the end", frame: progress.frame)
        return try outcome.withLock { try $0!.get() }
    }

    func stop() throws {
        mailbox.post(.stop)
        _ = try end()
    }
}

@Suite struct FrameSchedulerTests {
    @Test func aFrameIsSteppedThenShown() throws {
        let stage = Stage()
        #expect(try stage.run(lastFrame: 3).0 == .completed)
        #expect(
            stage.node.happenings == [
                .observe(0), .edge, .step(1), .observe(1), .step(2), .observe(2), .step(3), .observe(3),
            ])
        #expect(stage.observer.times == [0, 0.01, 0.02, 0.03])
        #expect(stage.progress.frame == 3)
    }

    @Test func theEdgeIsSeenToOnlyWhenSomebodyWantsSomething() throws {
        let stage = Stage()
        stage.node.onStep = { [node = stage.node] frame in if frame == 2 { node.raiseAttention() } }
        _ = try stage.run(lastFrame: 4)
        #expect(
            stage.node.happenings == [
                .observe(0), .edge, .step(1), .observe(1), .step(2), .observe(2), .edge, .step(3), .observe(3),
                .step(4),
                .observe(4),
            ])
    }

    @Test func aFailedFrameIsNotShown() throws {
        let stage = Stage()
        stage.node.onStep = { if $0 == 2 { throw RunFailure(.exit, module: "m", frame: 2, cause: "gone") } }
        #expect(throws: RunFailure.self) { try stage.run(lastFrame: 4) }
        #expect(stage.node.happenings.suffix(2) == [.observe(1), .step(2)])
        #expect(stage.progress.frame == 1)
    }

    @Test func anObserverCanEndTheRun() throws {
        let stage = Stage()
        stage.observer.failAtFrame = 2
        let failure = #expect(throws: RunFailure.self) { try stage.run(lastFrame: 4) }
        #expect(failure?.cause == "disk full")
        #expect(stage.progress.frame == 1, "frame 2 is not complete without its row")
    }

    @Test func pauseTakesEffectAtAnEdgeAndResumeGoesOn() throws {
        let stage = Stage()
        stage.start()
        #expect(eventually { stage.progress.frame > 100 })
        let paused = try #require(try stage.command(.pause)?.get())
        #expect(stage.progress.isPaused && stage.progress.frame == paused)
        #expect(stage.node.happenings.suffix(3).contains(.show(.paused)))
        #expect(try stage.command(.resume)?.get() == paused)
        #expect(eventually { stage.progress.frame > paused })
        #expect(!stage.progress.isPaused && stage.node.happenings.contains(.show(.running)))
        try stage.stop()
    }

    @Test func aStepReturnsWhenItsFramesAreComplete() throws {
        let stage = Stage()
        stage.start(.singleFrame)
        #expect(try stage.command(.step(count: 1))?.get() == 1)
        #expect(try stage.command(.step(count: 10))?.get() == 11)
        #expect(stage.progress.frame == 11 && stage.progress.isPaused)
        #expect(try stage.command(.pause)?.get() == 11, "paused already")
        #expect(stage.progress.frame == 11)
        try stage.stop()
    }

    @Test func eachOfManyStepsIsAnsweredAtItsOwnFrame() throws {
        let stage = Stage()
        let first = Mutex<Stage.Answer?>(nil), last = Mutex<Stage.Answer?>(nil), seen = Mutex<UInt64?>(nil)
        stage.node.onStep = { [node = stage.node] frame in
            // By the second frame after its target the first step has its answer, though the second goes on.
            if frame == 5 {
                seen.withLock { $0 = first.withLock { $0?.frame } }
                node.onStep = { _ in }
            }
        }
        first.withLock { $0 = stage.post(.step(count: 3)) }
        last.withLock { $0 = stage.post(.step(count: 1000)) }
        stage.start(.singleFrame)
        #expect(eventually { last.withLock { $0!.frame == 1003 } })
        #expect(seen.withLock { $0 } == 3)
        try stage.stop()
    }

    @Test func aStepIsAnsweredThoughResumeOvertakesIt() throws {
        let stage = Stage()
        stage.node.onStep = { [mailbox = stage.mailbox] frame in if frame == 2 { mailbox.post(.resume) } }
        let step = stage.post(.step(count: 50))
        stage.start(.singleFrame)
        #expect(eventually { step.result != nil })
        #expect(step.frame == 50)
        try stage.stop()
        #expect(step.count == 1)
    }

    @Test func aPauseRefusesStepsThatItEnds() throws {
        let stage = Stage()
        stage.node.onStep = { [mailbox = stage.mailbox] frame in if frame == 3 { mailbox.post(.pause) } }
        let step = stage.post(.step(count: 1_000_000))
        stage.start(.singleFrame)
        #expect(eventually { step.result != nil })
        #expect(step.refusal == "frame 1000000 was not reached: cancelled by pause at frame 3")
        try stage.stop()
        #expect(step.count == 1)
    }

    @Test(arguments: [RunCommand.setMode(.realtime), .setMode(.singleFrame), .pause])
    func whateverEndsStepsRefusesThem(command: RunCommand) throws {
        let stage = Stage()
        stage.node.onStep = { [mailbox = stage.mailbox] frame in if frame == 3 { mailbox.post(command) } }
        let step = stage.post(.step(count: 100_000))
        stage.start(.singleFrame)
        #expect(eventually { step.result != nil })
        #expect(step.refusal == "frame 100000 was not reached: cancelled by \(command.word) at frame 3")
        #expect(try stage.command(.pause)?.get() == 3, "it waits there")
        try stage.stop()
        #expect(step.count == 1)
    }

    @Test func aPauseIsAnsweredThoughOthersAreTakenAtItsEdge() throws {
        for next in [RunCommand.resume, .step(count: 5), .reset, .stop] {
            let stage = Stage()
            let pause = Mutex<Stage.Answer?>(nil), second = Mutex<Stage.Answer?>(nil)
            stage.node.onStep = { [unowned stage] frame in
                guard frame == 4, pause.withLock({ $0 == nil }) else { return }
                pause.withLock { $0 = stage.post(.pause) }
                second.withLock { $0 = stage.post(next) }
            }
            stage.start()
            #expect(eventually { pause.withLock { $0?.result != nil } }, "then \(next)")
            #expect(pause.withLock { $0?.frame } == 4)
            if next != .stop { #expect(eventually { second.withLock { $0?.result != nil } }) }
            try stage.stop()
            #expect(pause.withLock { $0?.count } == 1 && second.withLock { $0?.count } == 1)
        }
    }

    @Test func aPauseIsShownBeforeItIsAnswered() throws {
        let stage = Stage()
        stage.start()
        for _ in 0..<50 {
            let shown = Mutex<Bool?>(nil)
            stage.mailbox.post(.pause) { [progress = stage.progress] _ in shown.withLock { $0 = progress.isPaused } }
            #expect(eventually { shown.withLock { $0 != nil } })
            #expect(shown.withLock { $0 } == true)
            _ = stage.command(.resume)
        }
        try stage.stop()
    }

    @Test func aResetOpensAnEpochAndRefusesStepsOfTheLast() throws {
        let stage = Stage()
        stage.start(.singleFrame)
        #expect(try stage.command(.step(count: 2))?.get() == 2)
        stage.node.onStep = { [mailbox = stage.mailbox] frame in if frame == 4 { mailbox.post(.reset) } }
        let step = stage.post(.step(count: 40))
        #expect(eventually { step.result != nil })
        #expect(step.refusal == "frame 42 was not reached: cancelled by reset at frame 4")
        #expect(try stage.command(.pause)?.get() == 0)
        #expect(stage.progress.frame == 0 && stage.progress.epoch == 1)
        let order = stage.node.happenings.drop { $0 != .observe(4) }.filter { $0 != .edge }
        #expect(order.prefix(4) == [.observe(4), .reset, .begin(epoch: 1), .observe(0)])
        try stage.stop()
    }

    @Test func whatIsAskedAfterAResetIsMeantForTheNewEpoch() throws {
        let stage = Stage()
        stage.start(.singleFrame)
        #expect(try stage.command(.step(count: 7))?.get() == 7)
        // Both at one edge.
        let both = DispatchSemaphore(value: 0)
        stage.node.onStep = { _ in both.wait() }
        let held = stage.post(.step(count: 1))
        #expect(eventually { stage.node.happenings.last == .step(8) })
        let reset = stage.post(.reset), step = stage.post(.step(count: 3))
        stage.node.onStep = { _ in }
        both.signal()
        #expect(eventually { step.result != nil })
        #expect(held.frame == 8 && reset.frame == 0 && step.frame == 3)
        #expect(stage.progress.frame == 3 && stage.progress.epoch == 1)
        try stage.stop()
    }

    /// What changes nothing, and looks at values, however much of it: frames stay where they are due.
    @Test func clientsDoNotMoveDeadlines() throws {
        let stage = Stage()
        stage.node.isPatient = false
        stage.node.onStep = { [unowned stage] _ in
            for _ in 0..<200 { stage.mailbox.post(.resume) }
            for _ in 0..<20 {
                _ = stage.visits.post(values: 1 << 14) { node, _ in
                    guard let node else { return }
                    try? node.sample(ValueOrder(Array(0..<(1 << 14)), writing: nil)) { _ in }
                }
            }
        }
        _ = try stage.run(.realtime, lastFrame: 20)
        let deadlines = stage.node.deadlines
        let first = try #require(deadlines.first)
        #expect(Set(deadlines.map { ($0 - first) % 10_000_000 }) == [0], "of a grid of 100 Hz that began once")
        #expect(stage.node.happenings.filter { if case .step = $0 { true } else { false } }.count == 20)
    }

    /// Looks at values wait for their share of the time; none is lost and all keep their order.
    @Test func everyVisitIsMadeInOrder() throws {
        let stage = Stage()
        let made = Mutex<[Int]>([])
        for number in 0..<500 {
            _ = stage.visits.post(values: 1 << 13) { _, _ in made.withLock { $0.append(number) } }
        }
        stage.start(.singleFrame)
        #expect(eventually { made.withLock { $0.count } == 500 }, "also with no frame to run")
        #expect(made.withLock { $0 } == Array(0..<500))
        try stage.stop()
    }

    @Test func stopEndsAfterTheFrameUnderWay() throws {
        let stage = Stage()
        stage.node.onStep = { [mailbox = stage.mailbox] frame in if frame == 5 { mailbox.post(.stop) } }
        stage.start()
        #expect(try stage.end() == .stopped)
        #expect(stage.progress.frame == 5 && stage.node.happenings.last == .edge)
    }

    @Test func stopDoesNotWaitForAPendingReset() throws {
        let stage = Stage()
        stage.node.onStep = { [mailbox = stage.mailbox] frame in
            if frame == 5 {
                mailbox.post(.reset)
                mailbox.post(.stop)
            }
        }
        stage.start()
        #expect(try stage.end() == .stopped)
        #expect(!stage.node.happenings.contains(.reset))
    }

    @Test func aCommandThatIsRefusedChangesNothing() throws {
        let stage = Stage()
        stage.start(.singleFrame, lastFrame: 10)
        #expect(throws: CommandMailbox.CommandRefused.self) { try stage.command(.step(count: 11))?.get() }
        #expect(stage.post(.step(count: 0)).count <= 1)
        #expect(try stage.command(.step(count: 10))?.get() == 10)
        #expect(try stage.end() == .completed)
    }

    @Test func theModeChangesMidRun() throws {
        let stage = Stage()
        stage.node.isPatient = false
        stage.start(.singleFrame)
        #expect(stage.command(.setMode(.realtime)) != nil)
        #expect(stage.progress.mode == .realtime && stage.progress.isPaused)
        #expect(stage.command(.resume) != nil)
        #expect(eventually { !stage.node.deadlines.isEmpty })
        #expect(stage.command(.setMode(.afap)) != nil)
        #expect(stage.command(.setMode(.afap)) != nil, "no change, nobody told")
        try stage.stop()
        let told = stage.node.happenings.filter {
            $0 == .modeChanged(isRealtime: true) || $0 == .modeChanged(isRealtime: false)
        }
        #expect(told == [.modeChanged(isRealtime: true), .modeChanged(isRealtime: false)])
    }

    @Test func realtimeSleepsUntilAbsoluteDeadlines() throws {
        let stage = Stage()
        stage.node.isPatient = false
        let (outcome, pacer) = try stage.run(.realtime, lastFrame: 5)
        #expect(outcome == .completed && pacer.lateness.durations.count == 5)
        // 100 Hz: whatever was slept, the deadlines are 10 ms apart.
        let deadlines = Set(stage.node.deadlines).sorted()
        #expect(deadlines.allSatisfy { ($0 - deadlines[0]) % 10_000_000 == 0 })
    }

    @Test func aCommandWakesTheSleepBetweenFrames() throws {
        let stage = Stage()
        stage.start(.realtime)
        // The node sleeps on when it is patient: only a command ends that.
        #expect(eventually { stage.node.happenings.contains(.observe(1)) })
        #expect(try stage.command(.pause)?.get() == stage.progress.frame)
        try stage.stop()
    }
}
