import Dispatch
import Foundation
import HermesModel
import HermesPlan
import HermesProtocol
import Synchronization
import Testing

@testable import HermesCoordinator

@Suite(.timeLimit(.minutes(2))) struct CoordinatorTests {
    private func coordinator(
        _ node: ScriptedNode, lastFrame: UInt64? = 3, overrides: [(signal: String, text: String)] = [],
        mode: Execution.Mode = .afap, observer: LoggingObserver? = nil
    ) -> Coordinator {
        var simulation = ScriptedNode.simulation
        simulation.execution.mode = mode
        return Coordinator(
            simulation, node: node, options: Coordinator.Options(overrides: overrides, lastFrame: lastFrame),
            observers: [observer ?? LoggingObserver(node)], warn: { _ in })
    }

    @Test func aRunInOrder() throws {
        let node = ScriptedNode(), coordinator = coordinator(node, lastFrame: 1)
        #expect(coordinator.plan == nil && !coordinator.progress.hasStaged)
        let summary = try coordinator.run()
        #expect(
            node.happenings == [
                .launch, .prepare, .stage, .begin(epoch: 0), .show(.running), .observe(0), .edge, .step(1), .observe(1),
                .terminate(hurried: false), .observerFinish, .remove,
            ])
        #expect(summary.outcome == .completed && summary.error == nil && summary.frames == 1 && summary.time == 0.01)
        #expect(summary.name == "scripted" && summary.modules == 1 && summary.hosts == 1 && summary.epochs == 1)
        #expect(coordinator.plan?.registry.signals.count == 2 && coordinator.progress.hasStaged)
    }

    @Test func aFailureEndsItHurriedAndIsInTheSummary() throws {
        let node = ScriptedNode()
        node.onStep = {
            if $0 == 2 { throw RunFailure(.signal, module: "m", host: "desk", frame: 2, cause: "ended by signal 9") }
        }
        let coordinator = coordinator(node), answer = Mutex<String?>(nil)
        let summary = try coordinator.run()
        #expect(node.happenings.suffix(3) == [.terminate(hurried: true), .observerFinish, .remove])
        #expect(summary.outcome == .failed && summary.frames == 1)
        #expect(summary.error == "module m on host desk at frame 2: ended by signal 9")
        coordinator.mailbox.post(.pause) { result in
            if case .failure(let refusal) = result { answer.withLock { $0 = refusal.description } }
        }
        #expect(answer.withLock { $0 }?.hasPrefix("the simulation failed: module m") == true)
    }

    @Test func aLaunchThatFailsIsFinishedToo() throws {
        let node = ScriptedNode()
        node.onLaunch = { throw RunFailure(.launch, module: "m", cause: "can't be started") }
        let summary = try coordinator(node).run()
        #expect(node.happenings == [.launch, .terminate(hurried: true), .observerFinish, .remove])
        #expect(summary.outcome == .failed && summary.frames == 0 && summary.wall_s == 0)
    }

    @Test func aRecordingThatIsNotWholeFailsTheRun() throws {
        let node = ScriptedNode(), observer = LoggingObserver(node)
        observer.finishFailure = RunFailure(.resource, cause: "late disk full")
        let summary = try coordinator(node, observer: observer).run()
        #expect(summary.outcome == .failed && summary.error == "late disk full" && summary.frames == 3)
    }

    @Test func overridesAreValuesInTheirSlotsOwnType() throws {
        let node = ScriptedNode()
        _ = try coordinator(node, overrides: [("m.in", "-2")]).run()
        #expect(node.overrides.map(\.slot) == [1] && node.overrides.map(\.bits) == [UInt64(UInt32(bitPattern: -2))])
    }

    @Test func overridesThatCannotBeAreAllSaid() throws {
        let node = ScriptedNode()
        let coordinator = coordinator(
            node, overrides: [("m.inn", "1"), ("m.out", "1"), ("m.in", "1.5"), ("m.in", "7")])
        let error = #expect(throws: ConfigurationError.self) { try coordinator.run() }
        #expect(
            error?.diagnostics.map(\.message) == [
                "there is no signal 'm.inn'; did you mean `m.in`?",
                "'m.out' can't be set: it is read-only (list it under signals: with writable: true)",
                "'1.5' is no i32 for 'm.in'",
            ])
        #expect(
            node.happenings.suffix(3) == [.terminate(hurried: false), .observerFinish, .remove],
            "the modules are ended all the same")
    }

    @Test func anInterruptEndsAfterTheFrameUnderWay() throws {
        let node = ScriptedNode(), coordinator = coordinator(node, lastFrame: nil)
        node.onStep = { if $0 == 4 { coordinator.interrupt() } }
        let summary = try coordinator.run()
        #expect(summary.outcome == .interrupted && summary.error == nil && summary.frames == 4)
    }

    @Test func anInterruptBeforeStagingStagesNothing() throws {
        let node = ScriptedNode(), coordinator = coordinator(node, lastFrame: nil)
        node.onLaunch = { coordinator.interrupt() }
        let summary = try coordinator.run()
        #expect(summary.outcome == .interrupted && summary.error == nil)
        #expect(
            !node.happenings.contains(.prepare)
                && node.happenings.suffix(3) == [.terminate(hurried: true), .observerFinish, .remove])
    }

    @Test func aStopBeforeStagingIsAStop() throws {
        let node = ScriptedNode(), observer = LoggingObserver(node), coordinator = coordinator(node, observer: observer)
        node.onLaunch = {
            coordinator.abandon()
            coordinator.mailbox.post(.stop)
        }
        let summary = try coordinator.run()
        #expect(summary.outcome == .stopped && summary.error == nil && summary.frames == 0)
        #expect(!node.happenings.contains(.prepare) && observer.isAbandoned)
    }

    @Test func anAbandonedRunSaysWhatItsRecordingLacks() throws {
        for (isInterrupted, outcome) in [(true, RunOutcome.interrupted), (false, .stopped)] {
            let node = ScriptedNode(), observer = LoggingObserver(node)
            observer.finishFailure = RunFailure(.refused, cause: "the recording is incomplete")
            let coordinator = coordinator(node, lastFrame: nil, observer: observer)
            node.onStep = { frame in
                guard frame == 4 else { return }
                if isInterrupted { coordinator.interrupt() }
                coordinator.abandon()
                throw RunFailure(.refused, frame: frame, cause: "interrupted while waiting for modules")
            }
            let summary = try coordinator.run()
            #expect(summary.outcome == outcome && summary.error == "the recording is incomplete" && summary.frames == 3)
        }
    }

    @Test func anInterruptDoesNotHideALostRecording() throws {
        let node = ScriptedNode(), observer = LoggingObserver(node)
        observer.finishFailure = RunFailure(.resource, cause: "late disk full")
        let coordinator = coordinator(node, lastFrame: nil, observer: observer)
        node.onStep = { if $0 == 4 { coordinator.interrupt() } }
        let summary = try coordinator.run()
        #expect(summary.outcome == .failed && summary.error == "late disk full")
    }

    // MARK: Summary

    private func keys(_ summary: RunSummary) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: JSONEncoder().encode(summary)) as? [String: Any])
    }

    @Test func theSummaryHasItsKeysWhateverHappened() throws {
        let promised: Set = [
            "name", "mode", "frames", "time", "startup_s", "wall_s", "frames_per_s", "modules", "hosts", "overruns",
            "outcome", "error",
        ]
        let good = try keys(coordinator(ScriptedNode()).run())
        #expect(promised.subtracting(good.keys).isEmpty)
        #expect(good["error"] is NSNull && good["digest"] == nil && good["outcome"] as? String == "completed")
        #expect(good["mode"] as? String == "afap" && good["frames"] as? Int == 3)

        let node = ScriptedNode()
        node.onStep = { _ in throw RunFailure(.exit, cause: "gone") }
        var failed = try coordinator(node).run()
        failed.digest = "00ff"
        let bad = try keys(failed)
        #expect(promised.subtracting(bad.keys).isEmpty)
        #expect(
            bad["error"] as? String == "gone" && bad["outcome"] as? String == "failed"
                && bad["digest"] as? String == "00ff")
        #expect(bad["realtime_factor"] is NSNull, "no frame, no factor")
    }

    @Test func aRealtimeSummaryTellsHowLateFramesBegan() throws {
        let node = ScriptedNode()
        node.isPatient = false
        let summary = try keys(coordinator(node, mode: .realtime).run())
        let lateness = try #require(summary["lateness_us"] as? [String: Any])
        #expect(Set(lateness.keys) == ["p50", "p99", "p999", "max"])
    }

    // MARK: Frames for whoever embeds it

    /// Runs it on a thread of its own.
    private func start(_ coordinator: Coordinator) -> DispatchGroup {
        let group = DispatchGroup()
        DispatchQueue(label: "run").async(group: group) { _ = try? coordinator.run() }
        return group
    }

    @Test func aReaderThatKeepsUpSeesEveryFrameOnce() async throws {
        let coordinator = coordinator(ScriptedNode(), lastFrame: 2000)
        let frames = try coordinator.frames(buffering: 5000), again = try coordinator.frames(buffering: 5000)
        let run = start(coordinator)
        var seen: [CompletedFrame] = [], second: [CompletedFrame] = []
        for await frame in frames { seen.append(frame) }
        for await frame in again { second.append(frame) }
        #expect(seen == (0...2000).map { CompletedFrame(epoch: 0, frame: $0, time: Double($0) / 100) })
        #expect(second == seen)
        #expect(run.wait(timeout: .distantFuture) == .success)
    }

    @Test func frames0FollowsTheLastOfTheEpochBefore() async throws {
        let node = ScriptedNode(), coordinator = coordinator(node, lastFrame: 500)
        let resets = Mutex(0)
        node.onStep = { frame in
            if frame == 300
                && resets.withLock({
                    $0 += 1; return $0
                }) == 1
            {
                coordinator.mailbox.post(.reset)
            }
        }
        let frames = try coordinator.frames(buffering: 5000)
        _ = start(coordinator)
        var seen: [CompletedFrame] = []
        for await frame in frames { seen.append(frame) }
        #expect(seen.map(\.epoch) == Array(repeating: 0, count: 301) + Array(repeating: 1, count: 501))
        #expect(seen.map(\.frame) == Array(0...300) + Array(0...500))
    }

    @Test func aReaderThatSleepsLosesTheOldestAndDelaysNothing() async throws {
        let coordinator = coordinator(ScriptedNode(), lastFrame: 20_000)
        let frames = try coordinator.frames(buffering: 10)
        let summary = try coordinator.run()
        #expect(summary.frames == 20_000)
        var seen: [UInt64] = []
        for await frame in frames { seen.append(frame.frame) }
        #expect(seen == Array(19_991...20_000))
    }

    @Test func aReaderMayComeLateAndLeaveEarly() async throws {
        let node = ScriptedNode(), coordinator = coordinator(node, lastFrame: nil)
        let run = start(coordinator)
        #expect(eventually { coordinator.progress.frame > 50 })
        for round in 0..<20 {
            let before = coordinator.progress.frame
            var last: UInt64?
            for await frame in try coordinator.frames() {
                #expect(frame.frame > (last ?? before), "round \(round)")
                if last != nil { break }
                last = frame.frame
            }
        }
        let rest = try coordinator.frames(buffering: 1)
        coordinator.mailbox.post(.stop)
        run.wait()
        var count = 0
        for await _ in rest { count += 1 }
        #expect(count <= 1)
    }

    @Test func aReaderIsToldOfAFrameThatCameWhileNothingElseDoes() async throws {
        let coordinator = coordinator(ScriptedNode(), lastFrame: nil, mode: .singleFrame)
        var frames = try coordinator.frames().makeAsyncIterator()
        let run = start(coordinator)
        #expect(await frames.next()?.frame == 0)
        for expected in 1...200 as ClosedRange<UInt64> {
            coordinator.mailbox.post(.step(count: 1))
            #expect(await frames.next()?.frame == expected)
        }
        coordinator.mailbox.post(.stop)
        #expect(await frames.next() == nil)
        run.wait()
    }

    @Test func aRunThatIsOverOrNeverCameHasNoFrames() async throws {
        let over = coordinator(ScriptedNode())
        _ = try over.run()
        for await frame in try over.frames() { Issue.record("\(frame)") }
        var never: Coordinator? = coordinator(ScriptedNode())
        let frames = try never!.frames()
        never = nil
        for await frame in frames { Issue.record("\(frame)") }
    }

    @Test func betweenTwoEpochsNothingIsMadeUp() {
        typealias Position = RunProgress.Position
        func news(_ told: Position, _ now: Position) -> [String] {
            FrameFeed.news(from: told, to: now).filter { !$0.frames.isEmpty }.map { "\($0.epoch): \($0.frames)" }
        }
        #expect(news(Position(), Position()) == [])
        #expect(news(Position(), Position(count: 3)) == ["0: 0..<3"])
        #expect(news(Position(count: 3), Position(epoch: 1, count: 2, earlierCount: 5)) == ["0: 3..<5", "1: 0..<2"])
        #expect(news(Position(count: 3), Position(epoch: 2, count: 1, earlierCount: 9)) == ["2: 0..<1"])
    }
}
