import CHermes
import CKeeper
import Dispatch
import Foundation
import HermesModel
import HermesPlan
import HermesProtocol
import HermesTransport
import HermesSystem
import Synchronization
import Testing

@testable import HermesNode

/// A node with real modules, and what it told people.
final class Bench: @unchecked Sendable {
    let name = UniqueName.next()
    let node: EmbeddedNode
    private(set) var plan: Plan?
    private let simulation: Simulation

    struct Part {
        var name: String
        var kind = Module.Kind.process
        var program: String
        var environment: [(name: String, value: String)] = []
        var onError: ErrorPolicy?
        var divisor = 1.0
        static func process(
            _ name: String, trouble: String = "", once: String? = nil, savesState: Bool = false,
            onError: ErrorPolicy? = nil, divisor: Double = 1
        ) -> Self {
            Part(
                name: name, program: Workshop.counter,
                environment: [
                    ("COUNTER", trouble), ("COUNTER_ONCE", once ?? ""), ("COUNTER_STATE", savesState ? "saved" : ""),
                ], onError: onError, divisor: divisor)
        }
        static func inproc(_ name: String, onError: ErrorPolicy? = nil) -> Self {
            Part(name: name, kind: .inproc, program: Workshop.counterObject, onError: onError)
        }
        static func script(_ name: String, kind: Module.Kind = .process, _ text: String) throws -> Self {
            Part(name: name, kind: kind, program: try Workshop.script(name, "#!/bin/sh\n" + text))
        }
    }

    init(
        _ parts: [Part], wires: [(String, String)] = [], schedule: [[String]]? = nil, timeout: Double = 60,
        restartLimit: Int = 5
    ) throws {
        let place = SourceLocation(file: "bench", line: 1, column: 1)
        let modules = parts.map {
            Module(
                name: $0.name, kind: $0.kind, program: ByteString($0.program), environment: $0.environment,
                rateHz: 100 / $0.divisor, onError: $0.onError, location: place)
        }
        simulation = Simulation(
            name: name, baseDirectory: "/", modules: modules,
            wires: wires.map {
                Wire(
                    source: SignalName($0)!, destination: SignalName($1)!, sourceLocation: place,
                    destinationLocation: place)
            },
            execution: Execution(
                rateHz: 100, schedule: schedule ?? [parts.map(\.name)], stepTimeoutSeconds: timeout,
                restartLimit: restartLimit))
        var processKeeper = keeper()
        try #require(keeper_start(&processKeeper) == 0)
        let told = Reports()
        reports = told
        node = EmbeddedNode(
            simulation,
            settings: LaunchSettings(simulationName: name, baseDirectory: "/", pythonPath: nil, library: nil),
            folder: try RunFolder(name: name), keeper: processKeeper, alarm: try Alarm(),
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
