import CHermes
import CKeeper
import Dispatch
import Foundation
import HermesModel
import HermesPlan
import HermesProtocol
import Synchronization
import Testing

@testable import HermesNode

/// A node with real modules, and what it told people.
private final class Bench: @unchecked Sendable {
    let name = UniqueName.next()
    let node: EmbeddedNode
    private(set) var plan: Plan?
    private let simulation: Simulation

    struct Part {
        var name: String
        var kind = Module.Kind.process
        var program: String
        var environment: [(name: String, value: String)] = []
        static func process(_ name: String, trouble: String = "") -> Self {
            Part(name: name, program: Workshop.counter, environment: [("COUNTER", trouble)])
        }
        static func inproc(_ name: String) -> Self { Part(name: name, kind: .inproc, program: Workshop.counterObject) }
        static func script(_ name: String, kind: Module.Kind = .process, _ text: String) throws -> Self {
            Part(name: name, kind: kind, program: try Workshop.script(name, "#!/bin/sh\n" + text))
        }
    }

    init(_ parts: [Part], wires: [(String, String)] = [], schedule: [[String]]? = nil, timeout: Double = 60) throws {
        let place = SourceLocation(file: "bench", line: 1, column: 1)
        let modules = parts.map {
            Module(name: $0.name, kind: $0.kind, program: $0.program, environment: $0.environment, location: place)
        }
        simulation = Simulation(
            name: name, baseDirectory: "/", modules: modules,
            wires: wires.map {
                Wire(
                    source: SignalName($0)!, destination: SignalName($1)!, sourceLocation: place,
                    destinationLocation: place)
            },
            execution: Execution(
                rateHz: 100, schedule: schedule ?? [parts.map(\.name)], stepTimeoutSeconds: timeout))
        var processKeeper = keeper()
        try #require(keeper_start(&processKeeper) == 0)
        let told = Reports()
        reports = told
        node = EmbeddedNode(
            simulation,
            settings: LaunchSettings(simulationName: name, baseDirectory: "/", pythonPath: nil, library: nil),
            folder: try RunFolder(name: name), keeper: processKeeper,
            reporter: EmbeddedNode.Reporter(
                moduleLine: { module, line in told.lines.withLock { $0.append("\(module): \(line)") } },
                warning: { text in told.warnings.withLock { $0.append(text) } }))
    }

    final class Reports: Sendable {
        let lines = Mutex<[String]>([])
        let warnings = Mutex<[String]>([])
    }
    private let reports: Reports
    var lines: [String] { reports.lines.withLock { $0 } }
    var warnings: [String] { reports.warnings.withLock { $0 } }

    /// To frame 0.
    func stage(overrides: [(String, Double)] = []) throws {
        let plan = try Planner.plan(simulation, announcements: node.launch()).plan
        self.plan = plan
        try node.prepare(plan)
        try node.stage(overrides: overrides.map { (plan.registry.index(of: $0)!, $1.bitPattern) })
    }

    func step(_ frames: ClosedRange<UInt64>) throws {
        for frame in frames { try node.step(frame: frame, appliesWrites: true) }
    }

    func bits(_ signal: String) -> UInt64 { node.slots[plan!.registry.index(of: signal)!] }
    func number(_ signal: String) -> Double { Double(bitPattern: bits(signal)) }

    /// The process ids of the modules, from the segment.
    func pids() throws -> [Int32] {
        var view = hermes_view()
        try #require(hermes_view_open(&view, RunFolder.segmentName(of: name)) == 0)
        defer { hermes_view_close(&view) }
        let pids = simulation.modules.indices.map { Int32(view.modules[$0].pid) }
        for (module, pid) in zip(simulation.modules, pids) { try #require(pid > 0 || module.kind == .inproc) }
        return pids
    }

    private var isEnded = false
    deinit { if !isEnded { _ = end(hurried: true) } }

    /// Ends it and says what it left.
    func end(hurried: Bool = false) -> [String] {
        isEnded = true
        node.terminate(hurried: hurried)
        node.remove()
        let paths = [RunFolder.path(of: name), "/dev/shm\(RunFolder.segmentName(of: name))"]
        return paths.filter { access($0, F_OK) == 0 }
    }

    /// Why frames or a start fail.
    func failure(_ body: () throws -> Void) -> RunFailure? {
        do {
            try body()
            return nil
        } catch {
            return error as? RunFailure
        }
    }
}

@Suite(.serialized) struct EmbeddedNodeTests {
    private func isGone(_ pid: Int32) -> Bool { eventually { kill(pid, 0) != 0 && errno == ESRCH } }

    @Test func framesOfAProcessAndAModuleInside() throws {
        let bench = try Bench(
            [.inproc("inside"), .process("outside")],
            wires: [("inside.count", "outside.seen"), ("outside.count", "inside.seen")],
            schedule: [["inside"], ["outside"]])
        try bench.stage(overrides: [("outside.gain", 3)])
        #expect(bench.node.moduleStates.map(\.state) == [.staged, .staged])
        #expect(bench.number("outside.gain") == 3 && bench.number("inside.gain") == 0.5, "gain keeps its own default")
        bench.node.show(.running)
        #expect(bench.node.moduleStates.map(\.state) == [.running, .running])
        let pids = try bench.pids()
        #expect(pids[0] == 0 && pids[1] > 0)
        for frame in 1...200 as ClosedRange<UInt64> {
            try bench.node.step(frame: frame, appliesWrites: true)
            #expect(bench.bits("inside.count") == frame && bench.bits("outside.count") == frame)
            // To a later phase in the same frame, to an earlier one for the next.
            #expect(bench.number("outside.product") == 3 * Double(frame))
            #expect(bench.number("inside.product") == 0.5 * Double(frame - 1))
        }
        #expect(bench.end() == [])
        #expect(isGone(pids[1]))
        #expect(bench.lines.contains("outside: terminated after 200"))
        #expect(bench.node.moduleStates.map(\.state) == [.done, .done])
        #expect(bench.warnings == [])
    }

    @Test func whatOutsidersSetIsAppliedBeforeTheNextFrame() throws {
        let bench = try Bench([.inproc("inside"), .process("outside")])
        try bench.stage()
        bench.node.show(.running)
        let client = try #require(hermes_client_open(bench.name))
        defer { hermes_client_close(client) }
        let seen = bench.node.attention
        let indices = ["inside.seen", "outside.seen"].map { UInt32(bench.plan!.registry.index(of: $0)!) }
        try #require(hermes_client_set_bits(client, indices, [8, 10], 2) == 0)
        #expect(bench.node.attention != seen)
        #expect(bench.bits("outside.seen") == 0)
        try bench.step(1...1)
        #expect(bench.number("outside.product") == 5 && bench.number("inside.product") == 4)
        try bench.node.atEdge()
        #expect(bench.end() == [])
        #expect(hermes_client_set_bits(client, indices, [1, 1], 2) == ESHUTDOWN)
    }

    @Test func aResetBeginsAnew() throws {
        let bench = try Bench([.inproc("inside"), .process("outside")], wires: [("inside.count", "outside.seen")])
        try bench.stage(overrides: [("outside.gain", 2)])
        try bench.step(1...7)
        #expect(bench.bits("outside.count") == 7 && bench.node.epoch == 0)
        try bench.node.reset()
        #expect(bench.node.epoch == 1 && bench.bits("outside.count") == 0 && bench.bits("outside.seen") == 0)
        #expect(bench.number("outside.gain") == 2, "the overrides hold in every epoch")
        try bench.step(1...3)
        #expect(bench.bits("outside.count") == 3)
        #expect(bench.end() == [])
    }

    @Test func aFailedStepIsTheModulesOwnWord() throws {
        let bench = try Bench([.process("steady"), .process("weak", trouble: "fail step 3")])
        try bench.stage()
        try bench.step(1...2)
        let failure = bench.failure { try bench.step(3...3) }
        #expect(
            failure?.description
                == "module weak on host desk at frame 3: step returned 7: out of fuel; last lines: tank is empty")
        #expect(bench.node.moduleStates.map(\.state) == [.staged, .error])
        #expect(bench.end(hurried: true) == [])
        #expect(bench.lines.contains { $0.hasPrefix("steady: terminated after") })
        #expect(bench.lines.contains("weak: terminated after 3"))
    }

    @Test func aFailedStageIsSaid() throws {
        let bench = try Bench([.process("weak", trouble: "fail stage")])
        let failure = bench.failure { try bench.stage() }
        #expect(failure?.code == .status && failure?.cause == "stage returned 4: no stage today")
        #expect(bench.end(hurried: true) == [])
    }

    @Test func aKilledModuleIsNamed() throws {
        let bench = try Bench([.process("one"), .process("two")])
        try bench.stage()
        try bench.step(1...2)
        let pids = try bench.pids()
        kill(pids[1], SIGKILL)
        var frame: UInt64 = 2
        var failure: RunFailure?
        #expect(
            eventually {
                frame += 1
                failure = bench.failure { try bench.step(frame...frame) }
                return failure != nil
            })
        #expect(failure?.module == "two" && failure?.cause == "ended by signal 9 (SIGKILL)")
        #expect(throws: RunFailure.self) { try bench.node.atEdge() }
        #expect(bench.end(hurried: true) == [])
        #expect(isGone(pids[0]))
    }

    @Test func aModuleThatHangsTimesOutAfterAWarning() throws {
        let bench = try Bench([.process("one"), .process("slow", trouble: "hang")], timeout: 0.2)
        try bench.stage()
        try bench.step(1...2)
        let failure = bench.failure { try bench.step(3...3) }
        #expect(failure?.code == .timeout && failure?.module == "slow" && failure?.frame == 3)
        #expect(failure?.cause == "did not finish its step within 0.2 s")
        #expect(bench.warnings.first == "waiting for host desk, module slow, frame 3")
        let pids = try bench.pids()
        #expect(bench.end(hurried: true) == [])
        #expect(isGone(pids[1]) && bench.lines.contains("slow: terminated after 3"), "its safe state, though it hangs")
    }

    @Test(arguments: [
        ("exit 5", RunFailure.Code.exit, "exited with code 5 before it announced its signals"),
        ("kill -SEGV $$", .signal, "ended by signal 11 (SIGSEGV)"),
        (
            "printf 'this is no message at all' >\"$HERMES_REPLY_FIFO\"; sleep 600", .protocolError,
            "wrote something else than a message on its reply FIFO"
        ),
    ]) func whatGoesWrongBeforeItAnnounces(text: String, code: RunFailure.Code, cause: String) throws {
        let bench = try Bench([.process("fine"), .script("odd", "echo one >&2; echo two >&2\n\(text)\n")])
        let failure = bench.failure { _ = try bench.node.launch() }
        #expect(failure?.code == code && failure?.module == "odd" && failure?.cause == cause)
        #expect(code == .protocolError || failure?.lastLines == ["one", "two"])
        #expect(bench.end(hurried: true) == [])
    }

    @Test func twoSignalsOfOneNameAreReported() throws {
        let bench = try Bench([.process("odd", trouble: "announce twice")])
        let failure = bench.failure { _ = try bench.node.launch() }
        #expect(failure?.code == .announce && failure?.cause == "announced two signals of the name 'count'")
        #expect(bench.end(hurried: true) == [])
    }

    @Test func aProgramThatIsNotThereIsReported() throws {
        let bench = try Bench([.process("fine"), Bench.Part(name: "gone", program: "/nowhere/at all")])
        let failure = bench.failure { _ = try bench.node.launch() }
        #expect(failure?.cause == "can't be started: /nowhere/at all: No such file or directory")
        #expect(bench.end(hurried: true) == [])
    }

    @Test func anObjectThatDoesNotLoadEndsWhatStartedBeforeIt() throws {
        let bench = try Bench([
            .process("early"), Bench.Part(name: "gone", kind: .inproc, program: "/nowhere/gone.so"), .process("late"),
        ])
        let failure = bench.failure { _ = try bench.node.launch() }
        #expect(failure?.code == .launch && failure?.module == "gone")
        #expect(failure?.cause.hasPrefix("can't be loaded: /nowhere/gone.so") == true)
        #expect(bench.end(hurried: true) == [])
    }

    @Test func aFreeScriptThatFailsIsALossThoughItsPipesLiveOn() throws {
        // What it leaves behind keeps writing into its output from a session of its own.
        let bench = try Bench([
            .process("steady"), .script("free", kind: .script, "setsid yes & exec sleep 600\n"),
        ])
        try bench.stage()
        let pids = try bench.pids()
        #expect(eventually { bench.lines.contains("free: y") })
        kill(pids[1], SIGTERM)
        var frame: UInt64 = 0
        var failure: RunFailure?
        #expect(
            eventually {
                frame += 1
                failure = bench.failure { try bench.step(frame...frame) }
                return failure != nil
            })
        #expect(failure?.module == "free" && failure?.cause == "ended by signal 15 (SIGTERM)")
        #expect(bench.end(hurried: true) == [])
    }

    @Test func aFreeScriptThatIsDoneIsNoLoss() throws {
        let bench = try Bench([.process("steady"), .script("free", kind: .script, "exit 0\n")])
        try bench.stage()
        let pids = try bench.pids()
        #expect(isGone(pids[1]))
        try bench.step(1...20)
        try bench.node.atEdge()
        #expect(bench.end() == [])
    }

    @Test func whoIsWaitedForCanBeGivenUp() throws {
        let bench = try Bench([.script("silent", "exec sleep 600\n")])
        DispatchQueue(label: "impatience").async { bench.node.abandon() }
        let failure = bench.failure { _ = try bench.node.launch() }
        #expect(failure?.code == .refused && failure?.cause == "interrupted while waiting for modules")
        #expect(bench.end(hurried: true) == [])
    }
}
