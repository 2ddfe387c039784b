import CHermes
import Foundation
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesNode

@Suite struct ModuleLifecycleTests {
    private typealias Event = ModuleLifecycle.Event

    /// What each event makes of each state; nil: it can't happen then.
    static let table: [ModuleState: [ModuleLifecycle.Event: ModuleState]] = [
        .initialising: [.stage: .staged, .finish: .done, .fail: .error],
        .staged: [
            .run: .running, .pause: .paused, .reset: .staged, .finish: .done, .fail: .error, .hold: .held,
            .restart: .restarting,
        ],
        .running: [
            .run: .running, .pause: .paused, .reset: .running, .finish: .done, .fail: .error, .hold: .held,
            .restart: .restarting,
        ],
        .paused: [
            .run: .running, .pause: .paused, .reset: .paused, .finish: .done, .fail: .error, .hold: .held,
            .restart: .restarting,
        ],
        .done: [.finish: .done],
        // Also a start that fails may be followed by another.
        .error: [.fail: .error, .hold: .held, .restart: .restarting],
        .held: [.run: .held, .pause: .held, .reset: .held, .finish: .done, .hold: .held],
        .restarting: [
            .stage: .staged, .run: .running, .pause: .paused, .finish: .done, .fail: .error, .hold: .held,
            .restart: .restarting,
        ],
    ]
    private let ways: [ModuleState: [ModuleLifecycle.Event]] = [
        .initialising: [], .staged: [.stage], .running: [.stage, .run], .paused: [.stage, .pause],
        .done: [.stage, .run, .finish], .error: [.fail], .held: [.stage, .run, .hold],
        .restarting: [.stage, .pause, .restart],
    ]

    @Test(arguments: ModuleState.allCases, ModuleLifecycle.Event.allCases)
    func everyEventInEveryState(state: ModuleState, event: ModuleLifecycle.Event) throws {
        var lifecycle = ModuleLifecycle()
        for step in ways[state]! { _ = lifecycle.handle(step) }
        try #require(lifecycle.state == state)
        let next = Self.table[state]![event]
        let isPossible = lifecycle.handle(event)
        #expect(isPossible == (next != nil))
        #expect(lifecycle.state == next ?? state)
    }
}

@Suite struct StepWatchTests {
    private let second: UInt64 = 1_000_000_000

    @Test func halfTheTimeWarnsOnceAndAllOfItEnds() {
        var watch = StepWatch(timeoutSeconds: [4, 2])
        let start = 100 * second
        #expect(watch.firstLook(now: start) == start + second, "half of the shortest")
        var warned: [Int] = []
        func look(_ seconds: Double, _ modules: Int...) -> StepWatch.Verdict {
            watch.look(
                now: start + UInt64(seconds * 1e9), frame: 1, owed: modules.map { ($0, start) },
                warn: { warned.append($0) })
        }
        #expect(look(0.5, 0, 1) == .wait(until: start + second))
        #expect(warned.isEmpty)
        #expect(look(1, 0, 1) == .wait(until: start + 2 * second))
        #expect(warned == [1])
        #expect(look(1.5, 0, 1) == .wait(until: start + 2 * second))
        #expect(warned == [1], "once a frame")
        #expect(look(2, 0) == .wait(until: start + 3 * second), "a second later at the latest; module 1 has answered")
        #expect(warned == [1, 0])
        #expect(look(2, 0, 1) == .timedOut(module: 1, seconds: 2))
        #expect(look(4, 0) == .timedOut(module: 0, seconds: 4))
        #expect(look(9, 0, 1) == .timedOut(module: 1, seconds: 2), "a late look blames the one whose time was up first")
        #expect(look(9, 1, 0) == .timedOut(module: 1, seconds: 2))
        #expect(
            watch.look(now: start + second, frame: 2, owed: [(1, start)], warn: { warned.append($0) })
                != .timedOut(module: 1, seconds: 2))
        #expect(warned == [1, 0, 1], "and again in the next")
    }

    @Test func zeroWaitsForEver() {
        var watch = StepWatch(timeoutSeconds: [0, 0])
        #expect(watch.firstLook(now: 5) == .max)
        let verdict = watch.look(
            now: 1_000_000 * second, frame: 1, owed: [(0, 0)], warn: { _ in Issue.record("warned") })
        #expect(verdict == .wait(until: 1_000_001 * second))
        #expect(StepWatch(timeoutSeconds: []).firstLook(now: 5) == .max)
        #expect(StepWatch(timeoutSeconds: [0, 6]).firstLook(now: 0) == 3 * second)
    }

    @Test func aFrameInWhichNobodyOwesAnythingIsStuckAfterSomeLooks() {
        var watch = StepWatch(timeoutSeconds: [0])
        var looks = (0..<3).map { _ in watch.isStuck(frame: 1, isOwed: false) }
        #expect(looks == [false, false, false], "a moment between two modules")
        looks = [true, false, false, false, false].map { watch.isStuck(frame: 1, isOwed: $0) }
        #expect(looks == [false, false, false, false, true])
        let isNextStuck = watch.isStuck(frame: 2, isOwed: false)
        #expect(!isNextStuck)
    }

    @Test func timeCountsFromTheReleaseOfThePhase() {
        var watch = StepWatch(timeoutSeconds: [2])
        let late = 50 * second
        #expect(watch.look(now: 50 * second, frame: 1, owed: [(0, late)], warn: { _ in }) == .wait(until: 51 * second))
        // Released after the look began: no trap, no time-out.
        #expect(watch.look(now: 49 * second, frame: 1, owed: [(0, late)], warn: { _ in }) == .wait(until: 50 * second))
    }
}

@Suite struct LineSplitterTests {
    private func lines(_ pieces: [String]) -> [String] {
        var splitter = LineSplitter(), lines: [String] = []
        for piece in pieces { Array(piece.utf8).withUnsafeBytes { splitter.append($0) { lines.append($0) } } }
        splitter.finish { lines.append($0) }
        splitter.finish { lines.append($0) }
        return lines
    }

    @Test func linesComeWholeInWhateverPieces() {
        #expect(lines(["a\nb", "c\n", "\n", "d"]) == ["a", "bc", "", "d"])
        #expect(lines([]) == [] && lines(["\n"]) == [""] && lines(["é\r\n"]) == ["é\r"])
    }

    @Test func aCharacterCutInTwoPiecesIsWhole() {
        var splitter = LineSplitter(), lines: [String] = []
        for byte in "é\n".utf8 { withUnsafeBytes(of: byte) { splitter.append($0) { lines.append($0) } } }
        #expect(lines == ["é"])
    }

    @Test func whatNeverEndsIsCutAndWhatIsNoTextIsShown() {
        let cut = lines([String(repeating: "x", count: 150_000)])
        #expect(cut.map(\.utf8.count) == [65536, 65536, 150_000 - 2 * 65536])
        var splitter = LineSplitter(), seen: [String] = []
        ([0xFF, 0x41, 0x0A] as [UInt8]).withUnsafeBytes { splitter.append($0) { seen.append($0) } }
        #expect(seen == ["\u{FFFD}A"])
    }
}

@Suite struct LaunchSettingsTests {
    private func module(_ kind: Module.Kind, _ program: String, _ environment: [(name: String, value: String)] = [])
        -> Module
    {
        Module(
            name: "pilot", kind: kind, program: ByteString(program), arguments: ["--fast", "a b"],
            environment: environment,
            location: SourceLocation(file: "sim.yaml", line: 1, column: 1))
    }
    private let settings = LaunchSettings(
        simulationName: "flight", baseDirectory: "/base", pythonPath: "/lib/hermes", library: "/lib/libhermes.so")

    private func launch(
        _ module: Module, realtime: RealtimeWish? = nil
    ) throws -> (ModuleLaunch, [String: String]) {
        let launch = try settings.launch(
            of: module, realtime: realtime, commandPath: "/f/0.command", replyPath: "/f/0.reply")
        let pairs = launch.environment.map { entry in
            let (name, value) = entry.divided(at: UInt8(ascii: "="))!
            return (name.description, value.description)
        }
        return (launch, Dictionary(uniqueKeysWithValues: pairs))
    }

    @Test func aModuleFindsItsPlaceInItsEnvironment() throws {
        var module = module(.process, "/bin/pilot", [("GAIN", "2"), ("HERMES_SHM", "/elsewhere"), ("EMPTY", "")])
        module.configuration = "/base/pilot.yaml"
        let (launch, variables) = try launch(module)
        #expect(launch.arguments == ["/bin/pilot", "--fast", "a b"] && launch.directory == "/base")
        #expect(variables["HERMES_MODULE"] == "pilot" && variables["HERMES_CONFIG"] == "/base/pilot.yaml")
        #expect(variables["HERMES_COMMAND_FIFO"] == "/f/0.command" && variables["HERMES_REPLY_FIFO"] == "/f/0.reply")
        #expect(
            variables["HERMES_LIBRARY"] == "/lib/libhermes.so" && variables["GAIN"] == "2" && variables["EMPTY"] == "")
        #expect(variables["HERMES_SHM"] == "/hermes_flight", "what Hermes says is not the configuration's to change")
        #expect(variables["PYTHONPATH"]?.hasPrefix("/lib/hermes") == true)
        #expect(variables["PATH"] == getenv("PATH").map { String(cString: $0) }, "and what was inherited")
    }

    @Test func withoutConfigurationThereIsNoVariable() throws {
        var module = module(.process, "/bin/pilot", [("HERMES_CONFIG", "/other")])
        module.workingDirectory = "/work"
        let (launch, variables) = try launch(module)
        #expect(variables["HERMES_CONFIG"] == nil && launch.directory == "/work")
    }

    @Test func whatIsAskedOfAModulesThreadIsAVariable() throws {
        let own = module(.process, "/bin/pilot", [("HERMES_REALTIME", "priority=99")])
        #expect(try launch(own).1["HERMES_REALTIME"] == nil, "not the configuration's to ask for")
        #expect(try launch(own, realtime: RealtimeWish()).1["HERMES_REALTIME"] == nil)
        let all = RealtimeWish(priority: 7, cpus: [0, 2, 8191], lock_memory: true)
        let text = try #require(try launch(own, realtime: all).1["HERMES_REALTIME"])
        #expect(text == "priority=7 lock_memory cpus=0,2,8191")
        var read = hermes_realtime_wish()
        #expect(hermes_realtime_parse(text, &read) == 0)
        var wanted = all.wish
        #expect(memcmp(&read, &wanted, MemoryLayout<hermes_realtime_wish>.size) == 0)
        for wrong in [
            "priority=0", "priority=100", "priority=", "lock_memoryx", "cpus=", "cpus=1,", "cpus=3-2", "cpus=8192", "x",
        ] {
            #expect(hermes_realtime_parse(wrong, &read) == EINVAL, "\(wrong)")
        }
        #expect(hermes_realtime_parse("cpus=0,2-3", &read) == 0 && read.cpus.0 == 0b1101)
    }

    @Test func aPythonScriptIsRunByTheInterpreter() throws {
        let (launch, variables) = try launch(module(.script, "/base/steer.py", [("HERMES_PYTHON", "/opt/python")]))
        #expect(launch.arguments == ["/opt/python", "-m", "hermes", "/base/steer.py", "--fast", "a b"])
        #expect(variables["PYTHONUNBUFFERED"] == "1")
        let (other, _) = try self.launch(module(.script, "/base/steer.sh"))
        #expect(other.arguments == ["/base/steer.sh", "--fast", "a b"])
        let (kept, own) = try self.launch(
            module(
                .script, "/base/steer.py",
                [("HERMES_PYTHON", "/opt/python"), ("PYTHONPATH", "/mine"), ("PYTHONUNBUFFERED", "")]))
        #expect(own["PYTHONPATH"] == "/lib/hermes:/mine" && own["PYTHONUNBUFFERED"] == "" && kept.arguments[1] == "-m")
    }

    @Test func theInterpreterIsLookedForOnTheModulesPath() throws {
        let (launch, _) = try launch(
            module(.script, "/base/a.py", [("HERMES_PYTHON", "sh"), ("PATH", "/nowhere:/bin")]))
        #expect(launch.arguments[0] == "/bin/sh")
        let error = #expect(throws: RunFailure.self) {
            try self.launch(module(.script, "/base/a.py", [("HERMES_PYTHON", "python9"), ("PATH", "/nowhere")]))
        }
        #expect(
            error?.cause == "there is no python9 on PATH to run the script with; install python3 or set HERMES_PYTHON")
        #expect(error?.module == "pilot")
    }
}

@Suite struct RealtimeThreadsTests {
    private let found = RealtimeThread.Found(
        policy: "fifo", priority: 80, cpus: [0, 1], locked_bytes: 4096, timer_slack_ns: 1, thread: 7)

    private func refused(
        _ asked: RealtimeWish, _ found: RealtimeThread.Found, _ priority: Int32 = 0, _ cpus: Int32 = 0,
        _ memory: Int32 = 0
    ) -> [String] {
        RealtimeThread.refused(asked, found, priorityError: priority, cpusError: cpus, memoryError: memory)
    }

    @Test func whatIsAsAskedIsNotRefused() {
        #expect(refused(RealtimeWish(), found).isEmpty)
        #expect(refused(RealtimeWish(priority: 80, cpus: [0, 1], lock_memory: true), found).isEmpty)
    }

    @Test func whatIsNotIsSaidWithItsCure() {
        var plain = found
        plain.policy = "other"
        plain.priority = 0
        let all = RealtimeWish(priority: 80, cpus: [1], lock_memory: true)
        let sentences = refused(all, plain, EPERM, EINVAL, EPERM)
        #expect(sentences.count == 3)
        #expect(sentences[0].hasPrefix("has ordinary scheduling, not SCHED_FIFO priority 80 (Operation not permitted)"))
        #expect(sentences[0].contains("rtprio 95") && sentences[0].contains("LimitRTPRIO=95"))
        #expect(sentences[1].hasPrefix("may run on CPU 0-1, not on 1 (Invalid argument)"))
        #expect(sentences[2].contains("memlock unlimited") && sentences[2].contains("CAP_IPC_LOCK"))
        // The system may answer yes and do less: a cpuset cuts a list short without a word.
        #expect(refused(RealtimeWish(cpus: [0, 1, 2]), found) != [])
    }

    @Test func oneProcessorAndNoThrottleAreDangerous() {
        #expect(RealtimeCautions.cautions(cores: 2, throttleMicroseconds: 950_000).isEmpty)
        #expect(RealtimeCautions.cautions(cores: 2, throttleMicroseconds: nil).isEmpty)
        #expect(RealtimeCautions.cautions(cores: 1, throttleMicroseconds: 950_000).count == 1)
        #expect(RealtimeCautions.cautions(cores: 1, throttleMicroseconds: -1).count == 2)
    }

    @Test func anOrderOfAnotherHostIsLookedThroughBeforeItIsBelieved() throws {
        let item = LaunchModules.Item(
            name: "m", kind: "process", program: "m", arguments: [], environment: [], workingDirectory: nil,
            configuration: nil, stepTimeoutSeconds: 1, onError: nil)
        func order(_ frames: RealtimeWish, _ modules: [RealtimeWish]) throws -> RealtimeOrder? {
            try LaunchOrder.realtime(
                LaunchModules(
                    modules: [item], restartLimit: nil, realtime: RealtimeOrder(frames: frames, modules: modules)))
        }
        #expect(try LaunchOrder.realtime(LaunchModules(modules: [item], restartLimit: nil, realtime: nil)) == nil)
        #expect(try order(RealtimeWish(priority: 99), [RealtimeWish(cpus: [8191])]) != nil)
        for wrong in [
            RealtimeWish(priority: 0), RealtimeWish(priority: 100), RealtimeWish(cpus: []), RealtimeWish(cpus: [-1]),
            RealtimeWish(cpus: [8192]),
        ] {
            #expect(throws: RunFailure.self) { try order(wrong, [RealtimeWish()]) }
            #expect(throws: RunFailure.self) { try order(RealtimeWish(), [wrong]) }
        }
        #expect(throws: RunFailure.self) { try order(RealtimeWish(), []) }
    }
}

@Suite struct ShortWaitTests {
    @Test func lengthByThreadsCoresQuotaAndPriority() {
        func length(_ threads: Int, cpus: Int = 2, quota: Double? = nil, hasPriority: Bool = false) -> UInt32 {
            ShortWait.nanoseconds(threads: threads, cpus: cpus, quota: quota, hasPriority: hasPriority)
        }
        #expect(length(2) == 50_000 && length(3) == 100_000 && length(1000) == 500_000)
        #expect(length(3, cpus: 0) == 0)
        #expect(length(2, hasPriority: true) == 0)
        // Threads that spin could use two CPUs: all that there are.
        #expect(length(9, quota: 1.5) == 0 && length(9, quota: 2) == 250_000)
        #expect(length(2, cpus: 16, quota: 2) == 50_000 && length(3, cpus: 16, quota: 2) == 0)
    }

    /// cgroups(7): a line a hierarchy, the unified one numbered 0 and without controllers.
    @Test(
        arguments: [
            ("0::/\n", ["cpu.max": "max 100000"], nil),
            (
                "0::/a/b\n", ["cpu.max": "max 100000", "a/cpu.max": "150000 100000", "a/b/cpu.max": "200000 100000"],
                1.5
            ),
            ("0::/a/b\n", ["a/b/cpu.max": "50000 100000"], 0.5),
            ("0::/gone\n", [:], nil),
            ("4:cpu,cpuacct:/a\n0::/\n", ["cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"], 4),
            ("4:cpu:/a\n", ["cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"], nil),
            ("3:cpuset:/a\n", ["cpu/a/cpu.cfs_quota_us": "1", "cpu/a/cpu.cfs_period_us": "100000"], nil),
            ("", ["cpu.max": "50000 100000"], nil), ("rubbish\n", ["cpu.max": "50000 100000"], nil),
            ("0::/\n", ["cpu.max": "50000 0"], nil),
        ] as [(String, [String: String], Double?)])
    func leastQuotaOfAllGroups(groups: String, files: [String: String], expected: Double?) throws {
        let root = FileManager.default.temporaryDirectory.path + "/" + UniqueName.next()
        defer { try? FileManager.default.removeItem(atPath: root) }
        for (name, text) in files.merging(["groups": groups], uniquingKeysWith: { $1 }) {
            let path = root + "/" + name
            let folder = String(path[..<path.lastIndex(of: "/")!])
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try #require(FileManager.default.createFile(atPath: path, contents: Data(text.utf8)))
        }
        #expect(CPUQuota.least(groups: ByteString(root + "/groups"), root: ByteString(root)) == expected)
    }
}
