import CHermes
import Dispatch
import Foundation
import HermesModel
import HermesProtocol
import Testing

@testable import HermesNode

/// `on_module_error: hold` and `restart` with real processes.
@Suite(.serialized) struct ModuleErrorTests {
    /// A name for a file that is not there yet.
    private func once() throws -> String { try Workshop.script("once", "") + ".done" }

    /// The module's words in the segment.
    private func words(_ bench: Bench, _ module: Int) throws -> hermes_module_slot {
        var view = hermes_view()
        try #require(hermes_view_open(&view, RunFolder.segmentName(of: bench.name)) == 0)
        defer { hermes_view_close(&view) }
        return view.modules[module]
    }

    private func isGone(_ pid: Int32) -> Bool { eventually { kill(pid, 0) != 0 && errno == ESRCH } }

    /// What every signal of a module has in each frame.
    private func values(_ bench: Bench, _ frames: ClosedRange<UInt64>, of modules: String...) throws -> [[UInt64]] {
        try frames.map { frame in
            try bench.step(frame...frame)
            return modules.flatMap { module in
                ["count", "seen", "gain", "product", "sum", "level"].map { bench.bits("\(module).\($0)") }
            }
        }
    }

    // MARK: Hold

    @Test(arguments: [
        ("fail step 3", "step returned 7: out of fuel"), ("abort", "ended by signal 6 (SIGABRT)"),
        ("hang", "did not finish its step within 0.3 s"),
        ("babble", "wrote something else than a message on its reply FIFO"),
    ]) func aHeldModuleKeepsWhatItHadBefore(trouble: String, cause: String) throws {
        let bench = try Bench(
            [
                .process("before"), .process("weak", trouble: trouble, onError: .hold), .process("beside"),
                .process("after"),
            ],
            wires: [("before.count", "weak.seen"), ("weak.product", "after.seen"), ("weak.count", "before.seen")],
            schedule: [["before"], ["weak", "beside"], ["after"]], timeout: 0.3)
        try bench.stage(overrides: [("weak.gain", 2)])
        bench.node.show(.running)
        try bench.step(1...2)
        let pids = try bench.pids()
        #expect(bench.bits("weak.count") == 2 && bench.number("weak.product") == 4 && bench.bits("after.seen") == 4)
        try bench.step(3...3)
        // What wires brought has come, what it computes is that of frame 2.
        #expect(bench.bits("weak.seen") == 3 && bench.number("weak.gain") == 2)
        #expect(bench.bits("weak.count") == 2 && bench.number("weak.product") == 4 && bench.bits("after.seen") == 4)
        #expect(bench.bits("beside.count") == 3 && bench.bits("after.count") == 3)
        #expect(
            bench.node.moduleErrors == [
                ModuleError(.held, module: "weak", host: "desk", epoch: 0, frame: 3, cause: cause, differsFrom: 3)
            ])
        #expect(bench.warnings.contains { $0.hasPrefix("module weak on host desk at frame 3: \(cause)") })
        #expect(isGone(pids[1]), "nobody steps it any more, so it is told to terminate")
        try bench.node.atEdge()
        try bench.step(4...30)
        #expect(bench.bits("weak.count") == 2 && bench.bits("weak.seen") == 30 && bench.bits("before.seen") == 2)
        #expect(bench.bits("after.count") == 30 && bench.bits("beside.count") == 30)
        #expect(bench.node.moduleStates.map(\.state) == [.running, .held, .running, .running])
        let words = try words(bench, 1)
        #expect(words.guard == 1 && words.condition == 1 && words.error_frame == 3 && words.restarts == 0)
        #expect(bench.node.moduleErrors.count == 1)
        #expect(bench.end() == [])
        #expect(bench.lines.contains("weak: terminated after 3") == (trouble != "abort"))
    }

    @Test func onlyTheModulesOfAPhaseMayBeHeld() throws {
        let bench = try Bench(
            (1...6).map { .process("m\($0)", trouble: $0 % 2 == 0 ? "abort" : "fail step 3", onError: .hold) })
        try bench.stage()
        try bench.step(1...20)
        #expect((1...6).allSatisfy { bench.bits("m\($0).count") == 2 })
        #expect(Set(bench.node.moduleErrors.map(\.module)).count == 6)
        #expect(bench.node.moduleErrors.allSatisfy { $0.frame == 3 })
        #expect(bench.end() == [])
    }

    @Test func aModuleLostBetweenFramesIsHeldFromTheNext() throws {
        let bench = try Bench(
            [.process("steady"), .process("lost", onError: .hold)], wires: [("steady.count", "lost.seen")],
            schedule: [["steady"], ["lost"]])
        try bench.stage()
        try bench.step(1...5)
        let pid = try bench.pids()[1], seen = bench.node.attention
        kill(pid, SIGKILL)
        #expect(eventually { bench.node.attention != seen }, "a paused simulation is told")
        try bench.node.atEdge()
        #expect(bench.node.moduleErrors.map(\.frame) == [6])
        try bench.step(6...10)
        #expect(bench.bits("lost.count") == 5 && bench.bits("lost.seen") == 10 && bench.bits("steady.count") == 10)
        // It stays held in the next epoch, with what it has.
        try bench.node.reset()
        #expect(bench.node.epoch == 1 && bench.bits("steady.count") == 0 && bench.bits("lost.count") == 5)
        try bench.step(1...3)
        #expect(bench.bits("lost.count") == 5 && bench.bits("lost.seen") == 3 && bench.bits("steady.count") == 3)
        #expect(bench.end() == [])
    }

    @Test func aModuleInsideTheNodeIsHeldForItsStatus() throws {
        setenv("COUNTER", "fail step 3", 1)
        defer { unsetenv("COUNTER") }
        let bench = try Bench(
            [.inproc("inside", onError: .hold), .process("beside", onError: .hold), .process("after")],
            wires: [("after.count", "inside.seen")], schedule: [["inside", "beside"], ["after"]])
        try bench.stage()
        try bench.step(1...9)
        #expect(bench.bits("inside.count") == 2 && bench.bits("inside.seen") == 9 && bench.bits("beside.count") == 9)
        #expect(bench.node.moduleErrors.map(\.cause) == ["step returned 7: out of fuel"])
        #expect(bench.node.moduleStates.map(\.state) == [.held, .staged, .staged])
        #expect(bench.end() == [])
    }

    /// While an earlier phase is under way nobody can tell yet whether the module would have been asked for a step.
    @Test(arguments: [ErrorPolicy.hold, .restart]) func whoIsLostBeforeItsPhaseIsDealtWithInIt(policy: ErrorPolicy)
        throws
    {
        let gate = try once()
        let bench = try Bench(
            [
                .process("slow", trouble: "wait", once: gate),
                .process("late", savesState: true, onError: policy), .process("last"),
            ],
            wires: [("slow.count", "late.seen"), ("late.count", "last.seen")], schedule: [["slow"], ["late"], ["last"]])
        try bench.stage()
        try bench.step(1...2)
        let pid = try bench.pids()[1], seen = bench.node.attention, reports = bench
        DispatchQueue(label: "late").async {
            kill(pid, SIGKILL)
            // The loss is known to the node, and the phase before it still goes on.
            _ = eventually { reports.node.attention != seen }
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
        }
        try bench.step(3...3)
        #expect(bench.bits("late.seen") == 3 && bench.bits("last.count") == 3)
        #expect(bench.bits("late.count") == (policy == .hold ? 2 : 3))
        #expect(bench.bits("last.seen") == bench.bits("late.count"))
        #expect(bench.node.moduleErrors.map(\.frame) == [3])
        try bench.step(4...6)
        #expect(bench.bits("late.count") == (policy == .hold ? 2 : 6))
        #expect(bench.end() == [])
    }

    @Test func anotherModulesFailureStillEndsTheRun() throws {
        let bench = try Bench([
            .process("held", trouble: "fail step 3", onError: .hold), .process("fatal", trouble: "fail step 3"),
        ])
        try bench.stage()
        try bench.step(1...2)
        let failure = bench.failure { try bench.step(3...3) }
        #expect(failure?.module == "fatal" && failure?.cause == "step returned 7: out of fuel")
        #expect(bench.end(hurried: true) == [])
    }

    // MARK: Restart

    @Test(arguments: ["fail step 3", "abort", "hang", "babble", "die while saving"], [true, false])
    func withStateNothingShowsThatItWasStartedAgain(trouble: String, isFirstPhase: Bool) throws {
        func parts(_ trouble: String, _ once: String) -> [Bench.Part] {
            [
                .process("before"),
                .process("weak", trouble: trouble, once: once, savesState: true, onError: .restart),
                .process("beside", onError: .hold), .process("after"),
            ]
        }
        func bench(_ trouble: String) throws -> Bench {
            try Bench(
                parts(trouble, once()),
                wires: [
                    ("before.count", "weak.seen"), ("weak.sum", "after.seen"), ("after.count", "weak.gain"),
                    ("weak.count", "before.seen"),
                ],
                schedule: isFirstPhase
                    ? [["weak", "beside"], ["before"], ["after"]] : [["before"], ["weak", "beside"], ["after"]],
                timeout: 0.3)
        }
        let calm = try bench("")
        try calm.stage()
        let expected = try values(calm, 1...40, of: "before", "weak", "beside", "after")
        #expect(calm.end() == [])

        let disturbed = try bench(trouble)
        try disturbed.stage()
        disturbed.node.show(.running)
        let first = try disturbed.pids()[1]
        #expect(try values(disturbed, 1...40, of: "before", "weak", "beside", "after") == expected)
        #expect(disturbed.node.moduleErrors.map(\.frame) == [3])
        #expect(disturbed.node.moduleErrors.first?.action == .restarted)
        #expect(disturbed.node.moduleErrors.first?.differsFrom == nil)
        #expect(disturbed.node.moduleStates.map(\.state) == [.running, .running, .running, .running])
        let words = try words(disturbed, 1)
        #expect(words.guard == 2 && words.condition == 0 && words.restarts == 1 && words.error_frame == 3)
        #expect(try disturbed.pids()[1] != first && isGone(first))
        #expect(disturbed.end() == [])
    }

    @Test func withoutStateItBeginsAsStaged() throws {
        let bench = try Bench(
            [.process("steady"), .process("weak", trouble: "abort", once: once(), onError: .restart)],
            wires: [("steady.count", "weak.seen")], schedule: [["steady"], ["weak"]])
        try bench.stage(overrides: [("weak.gain", 3)])
        try bench.step(1...2)
        #expect(bench.bits("weak.count") == 2)
        try bench.step(3...3)
        #expect(bench.bits("weak.count") == 1 && bench.number("weak.product") == 9, "what users set is still there")
        #expect(bench.node.moduleErrors.map(\.differsFrom) == [3])
        try bench.step(4...6)
        #expect(bench.bits("weak.count") == 4 && bench.bits("steady.count") == 6)
        #expect(bench.end() == [])
    }

    @Test func aModuleThatStepsSeldomIsStartedAgainBetweenItsSteps() throws {
        let bench = try Bench([
            .process("steady"), .process("slow", savesState: true, onError: .restart, divisor: 4),
        ])
        try bench.stage()
        try bench.step(1...6)
        #expect(bench.bits("slow.count") == 2)
        kill(try bench.pids()[1], SIGKILL)
        #expect(eventually { (try? bench.node.atEdge()) != nil && bench.node.moduleErrors.count == 1 })
        try bench.step(7...9)
        #expect(bench.bits("slow.count") == 3 && bench.bits("steady.count") == 9)
        #expect(bench.node.moduleErrors.map(\.frame) == [7])
        #expect(bench.end() == [])
    }

    @Test func aResetReachesWhoWasStartedAgain() throws {
        let bench = try Bench([.process("weak", trouble: "abort", once: once(), savesState: true, onError: .restart)])
        try bench.stage()
        try bench.step(1...5)
        #expect(bench.bits("weak.count") == 5)
        try bench.node.reset()
        #expect(bench.bits("weak.count") == 0)
        // What it saved belongs to the new epoch: count is not that of the old one.
        kill(try bench.pids()[0], SIGKILL)
        #expect(eventually { (try? bench.node.atEdge()) != nil && bench.node.moduleErrors.count == 2 })
        try bench.step(1...4)
        #expect(bench.bits("weak.count") == 4 && bench.node.moduleErrors.map(\.epoch) == [0, 1])
        #expect(bench.end() == [])
    }

    @Test func whoFailsTooOftenEndsTheRun() throws {
        let bench = try Bench(
            [.process("weak", trouble: "fail step 3", savesState: true, onError: .restart)], restartLimit: 2)
        try bench.stage()
        try bench.step(1...2)
        let failure = bench.failure { try bench.step(3...3) }
        #expect(failure?.code == .status && failure?.module == "weak" && failure?.frame == 3)
        #expect(
            failure?.cause == "step returned 7: out of fuel; it had been started again 2 times (`restart_limit`)")
        #expect(bench.node.moduleErrors.map(\.restart) == [1, 2])
        #expect(bench.node.completedFrame == 2)
        #expect(bench.end(hurried: true) == [])
    }

    @Test func aProgramThatIsGoneIsTriedAgain() throws {
        let program = try Workshop.script("leaver", "#!/bin/sh\nexec \(Workshop.counter)\n")
        let bench = try Bench(
            [Bench.Part(name: "weak", program: program, environment: [("COUNTER", "abort")], onError: .restart)],
            restartLimit: 3)
        try bench.stage()
        unlink(program)
        try bench.step(1...2)
        let failure = bench.failure { try bench.step(3...3) }
        #expect(failure?.code == .launch && failure?.module == "weak")
        let cause = "can't be started: \(program): No such file or directory; it had been"
        #expect(failure?.cause.hasPrefix(cause) == true)
        #expect(bench.node.moduleErrors.count == 3)
        #expect(bench.end(hurried: true) == [])
    }

    @Test func whoAnnouncesOtherSignalsNoLongerFits() throws {
        let bench = try Bench([.process("weak", trouble: "announce more", once: once(), onError: .restart)])
        try bench.stage()
        try bench.step(1...2)
        kill(try bench.pids()[0], SIGKILL)
        var failure: RunFailure?
        #expect(
            eventually {
                failure = bench.failure { try bench.node.atEdge() }
                return failure != nil
            })
        #expect(failure?.code == .announce && failure?.module == "weak")
        #expect(bench.end(hurried: true) == [])
    }

    @Test func aRestartCanBeGivenUp() throws {
        let program = try Workshop.script(
            "stubborn",
            """
            #!/bin/sh
            [ -e "$COUNTER_ONCE" ] && { : >"$COUNTER_ONCE.again"; exec sleep 600; }
            exec \(Workshop.counter)
            """)
        let mark = try once()
        let bench = try Bench([
            Bench.Part(
                name: "weak", program: program,
                environment: [("COUNTER", "abort"), ("COUNTER_ONCE", mark)], onError: .restart)
        ])
        try bench.stage()
        try bench.step(1...2)
        let reports = bench
        DispatchQueue(label: "impatience").async {
            _ = eventually { access(mark + ".again", F_OK) == 0 }
            reports.node.abandon()
        }
        let failure = bench.failure { try bench.step(3...3) }
        #expect(failure?.code == .refused && failure?.cause == "interrupted while waiting for modules")
        #expect(bench.end(hurried: true) == [])
    }

    @Test func anotherModuleThatEndsTheRunIsNotWaitedFor() throws {
        let program = try Workshop.script(
            "stubborn",
            """
            #!/bin/sh
            [ -e "$COUNTER_ONCE" ] && { : >"$COUNTER_ONCE.again"; exec sleep 600; }
            exec \(Workshop.counter)
            """)
        let mark = try once()
        let bench = try Bench([
            Bench.Part(
                name: "weak", program: program,
                environment: [("COUNTER", "abort"), ("COUNTER_ONCE", mark)], onError: .restart),
            .process("fatal"),
        ])
        try bench.stage()
        try bench.step(1...2)
        let pid = try bench.pids()[1]
        DispatchQueue(label: "impatience").async {
            _ = eventually { access(mark + ".again", F_OK) == 0 }
            kill(pid, SIGKILL)
        }
        let failure = bench.failure { try bench.step(3...3) }
        #expect(failure?.module == "fatal" && failure?.cause == "ended by signal 9 (SIGKILL)")
        #expect(
            !bench.warnings.contains { $0.hasPrefix("waiting for") }, "at once, not when the other has had its time")
        #expect(bench.end(hurried: true) == [])
    }

    /// SIGKILL at any moment of a module's life: asleep, in its step, at its end, while it saves.
    @Test(arguments: [1, 2, 3]) func killedAtAnyMoment(seed: UInt64) throws {
        func bench() throws -> Bench {
            try Bench(
                [
                    .process("before"), .process("one", savesState: true, onError: .restart),
                    .process("two", savesState: true, onError: .restart), .process("after"),
                ],
                wires: [
                    ("before.count", "one.seen"), ("one.sum", "two.seen"), ("two.sum", "after.seen"),
                    ("after.product", "one.gain"), ("two.count", "before.seen"),
                ],
                schedule: seed == 1
                    ? [["before"], ["one", "two"], ["after"]] : [["one"], ["before", "two", "after"]],
                restartLimit: 1000)
        }
        let disturbed = try bench()
        try disturbed.stage()
        let isOver = Flag()
        let killer = DispatchQueue(label: "killer")
        let done = DispatchSemaphore(value: 0)
        let spare = disturbed
        killer.async {
            var random = seed &* 0x9E37_79B9_7F4A_7C15
            while !isOver.isSet {
                random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                // After a hundred frames without a failure the next pause is short again; then at any moment of one.
                let start = spare.node.completedFrame
                let next = start + 110 + random >> 58
                _ = eventually { isOver.isSet || spare.node.completedFrame > next }
                for _ in 0..<(random >> 44 & 0x3FFFF) {}
                guard !isOver.isSet, let pids = try? spare.pids() else { break }
                kill(pids[1 + Int(random >> 33 & 1)], SIGKILL)
            }
            done.signal()
        }
        var seen: [[UInt64]] = []
        while disturbed.node.moduleErrors.count < 12 {
            let frame = UInt64(seen.count + 1)
            seen += try values(disturbed, frame...frame, of: "before", "one", "two", "after")
        }
        isOver.set()
        done.wait()
        #expect(disturbed.node.moduleErrors.allSatisfy { $0.differsFrom == nil })
        #expect(disturbed.end(hurried: true) == [])

        let calm = try bench()
        try calm.stage()
        let expected = try values(calm, 1...UInt64(seen.count), of: "before", "one", "two", "after")
        let first = zip(seen, expected).enumerated().first { $1.0 != $1.1 }?.offset
        #expect(first == nil, "frame \((first ?? 0) + 1) differs, seed \(seed)")
        #expect(calm.end() == [])
    }

    @Test(arguments: [1, 2, 3, 4]) func heldAtAnyMoment(seed: UInt64) throws {
        let names = (0..<6).map { "m\($0)" }
        let bench = try Bench(
            [.process("steady")] + names.map { .process($0, onError: .hold) },
            wires: [("steady.count", "m0.seen")] + zip(names, names.dropFirst()).map { ("\($0).sum", "\($1).gain") },
            schedule: [["m0"], ["steady", "m1", "m2"], ["m3", "m4", "m5"]])
        try bench.stage()
        let pids = try bench.pids(), isOver = Flag(), done = DispatchSemaphore(value: 0)
        DispatchQueue(label: "killer").async {
            var random = seed &* 0x9E37_79B9_7F4A_7C15
            for victim in (1...6).shuffled() {
                random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let next = bench.node.completedFrame + random >> 60
                _ = eventually { isOver.isSet || bench.node.completedFrame > next }
                for _ in 0..<(random >> 44 & 0x3FFFF) {}
                kill(pids[victim], SIGKILL)
            }
            done.signal()
        }
        defer {
            isOver.set()
            done.wait()
        }
        var rows: [[String: UInt64]] = [[:]]
        while bench.node.moduleErrors.count < names.count || rows.count < 10 {
            try bench.step(UInt64(rows.count)...UInt64(rows.count))
            var row: [String: UInt64] = [:]
            for module in ["steady"] + names {
                for signal in ["count", "sum", "product", "level"] {
                    row["\(module).\(signal)"] = bench.bits("\(module).\(signal)")
                }
            }
            rows.append(row)
        }
        #expect(rows.indices.dropFirst().allSatisfy { rows[$0]["steady.count"] == UInt64($0) })
        for error in bench.node.moduleErrors {
            let held = rows.dropFirst(max(1, Int(error.frame) - 1)).map { row in
                ["count", "sum", "product", "level"].map { row["\(error.module).\($0)"]! }
            }
            #expect(Set(held).count == 1, "\(error.module), held since frame \(error.frame), seed \(seed)")
            #expect(held[0][0] == error.frame - 1 && Double(bitPattern: held[0][3]) == Double(error.frame - 1))
        }
        #expect(bench.end(hurried: true) == [])
    }

    private final class Flag: @unchecked Sendable {
        private let lock = NSLock()
        private var value = false
        var isSet: Bool { lock.withLock { value } }
        func set() { lock.withLock { value = true } }
    }
}

@Suite struct RestartLadderTests {
    @Test func pausesDoubleUntilItIsCalm() {
        var ladder = RestartLadder(limit: 9)
        #expect((0..<6).map { _ in ladder.fail() } == [0.1, 0.2, 0.4, 0.8, 1.6, 2])
        for _ in 0..<99 { ladder.step() }
        #expect(ladder.fail() == 2)
        for _ in 0..<100 { ladder.step() }
        #expect(ladder.fail() == 0.1)
        #expect(ladder.fail() == 0.2 && ladder.restarts == 9)
        for _ in 0..<1000 { ladder.step() }
        #expect(ladder.fail() == nil, "the limit holds for the run")
        #expect(ladder.restarts == 9)
    }
}
