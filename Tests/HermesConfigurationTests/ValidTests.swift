import HermesConfiguration
import HermesModel
import HermesSystem
import Testing

/// What is read of configurations without faults.
@Suite struct ValidTests {
    private func read(_ name: String) throws -> Simulation {
        let (simulation, warnings) = try ConfigurationReader.parse(
            text: Corpus.bytes("Valid/\(name).yaml"), file: "\(name).yaml", baseDirectory: Corpus.path("Desk"))
        #expect(warnings.isEmpty)
        return simulation
    }

    @Test func realtime() throws {
        let simulation = try read("realtime")
        let realtime = simulation.execution.realtime
        #expect(realtime.onOverrun == .skip && realtime.graceSeconds == 2)
        #expect(realtime.priority == 80 && realtime.modulePriority == 79)
        #expect(realtime.coordinatorCPUs?.numbers == [0] && realtime.nodeCPUs?.numbers == [1])
        #expect(realtime.moduleCPUs?.numbers == [7] && realtime.locksMemory && realtime.isRequired)
        #expect(realtime.moduleCPUs?.location.description == "realtime.yaml:13:51")
        #expect(simulation.hosts[0].cpus?.numbers == [2, 3], "in order")
        #expect(simulation.modules.map { $0.cpus?.numbers } == [[4, 5], nil], "each once")
        let plain = try read("minimal").execution.realtime
        #expect(plain.onOverrun == .catchUp && plain.graceSeconds == 0.5 && plain.priority == nil)
        #expect(plain.moduleCPUs == nil && !plain.locksMemory && !plain.isRequired)
    }

    @Test func everyKeyOfTheContract() throws {
        let simulation = try read("contract")
        let desk = Corpus.path("Desk")
        #expect(simulation.name == "flight")
        #expect(simulation.baseDirectory == desk)
        #expect(simulation.hosts.map(\.name) == ["bench", "local"])
        #expect(simulation.hosts.map(\.endpoint) == ["tcp://10.0.0.2:7600", "ipc:///run/hermes.sock"])
        #expect(simulation.hosts[0].key == "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
        #expect(simulation.hosts[0].mirror == "tcp://10.1.0.2:7700")
        #expect(simulation.hosts[1].key == nil)
        #expect(simulation.modules.map(\.name) == ["icarus", "injector", "fast"])

        let icarus = simulation.modules[0]
        #expect(icarus.kind == .process)
        #expect(icarus.program == "./icarus_sim")
        #expect(icarus.arguments == ["--fast", "3", "1.50", "true", "quoted text"])
        #expect(icarus.environment.map(\.name) == ["MODE", "LEVEL"])
        #expect(icarus.environment.map(\.value) == ["fast", "3"])
        #expect(icarus.configuration == "./icarus.yaml")
        #expect(icarus.workingDirectory == "runs")
        #expect(icarus.files == ["aero/c172.csv", "./maps/"])
        #expect(icarus.host == "bench")
        #expect(icarus.rateHz == 50)
        #expect(icarus.stepTimeoutSeconds == 0)
        #expect(icarus.location == SourceLocation(file: "contract.yaml", line: 7, column: 3))
        #expect(icarus.rateLocation == SourceLocation(file: "contract.yaml", line: 16, column: 14))
        let position = icarus.signals[0]
        #expect(position.name == "Vehicle.position.x")
        #expect(position.type == .f64)
        #expect(position.unit == "m")
        #expect(position.writable == false)
        #expect(position.published == true)
        #expect(position.location == SourceLocation(file: "contract.yaml", line: 19, column: 17))
        #expect(position.typeLocation == SourceLocation(file: "contract.yaml", line: 19, column: 43))
        let thrust = icarus.signals[1]
        #expect(thrust.name == "Vehicle.thrust")
        #expect(thrust.type == nil && thrust.unit == nil && thrust.writable == nil && thrust.published == nil)

        let injector = simulation.modules[1]
        #expect(injector.kind == .script)
        #expect(injector.program == desk + "/inject.py")
        #expect(injector.configuration == desk + "/model.yaml")
        #expect(injector.workingDirectory == desk + "/folder")
        #expect(injector.files == [desk + "/folder", desk + "/model.yaml"])
        #expect(injector.host == nil && injector.rateHz == nil && injector.stepTimeoutSeconds == nil)
        #expect(simulation.modules[2].kind == .inproc)

        let wires = simulation.wires
        #expect(wires.map(\.source.description) == ["injector.thrust_command", "icarus.Vehicle.position.*"])
        #expect(wires.map(\.destination.description) == ["icarus.Vehicle.thrust", "injector.seen.*"])
        #expect(wires.map(\.gain) == [2, 1])
        #expect(wires.map(\.offset) == [-5, 0])
        #expect(wires.map(\.isBulk) == [false, true])
        #expect(wires[0].sourceLocation == SourceLocation(file: "contract.yaml", line: 24, column: 12))
        #expect(wires[0].destinationLocation == SourceLocation(file: "contract.yaml", line: 24, column: 42))

        let execution = simulation.execution
        #expect(execution.mode == .realtime)
        #expect(execution.rateHz == 100)
        #expect(execution.endTime == 10)
        #expect(execution.schedule == [["icarus", "fast"], ["injector"]])
        #expect(!execution.isDefaultSchedule)
        #expect(execution.stepTimeoutSeconds == 2.5)
        let server = simulation.server
        #expect(server.enabled && server.host == "::1" && server.port == 9000 && server.telemetryHz == 30)
    }

    @Test func defaults() throws {
        let simulation = try read("minimal")
        #expect(simulation.name == "sim")
        #expect(simulation.hosts.isEmpty && simulation.wires.isEmpty)
        #expect(simulation.execution.mode == .afap)
        #expect(simulation.execution.rateHz == 100)
        #expect(simulation.execution.endTime == nil)
        #expect(simulation.execution.stepTimeoutSeconds == 5)
        #expect(simulation.execution.onModuleError == .stop && simulation.execution.restartLimit == 5)
        #expect(simulation.execution.livenessSeconds == 2 && simulation.execution.mirrors == .auto)
        #expect(simulation.execution.schedule == [["b", "a"]])
        #expect(simulation.execution.isDefaultSchedule)
        #expect(simulation.modules.map(\.program) == [Corpus.path("Desk/model"), Corpus.path("Desk/model")])
        #expect(!simulation.server.enabled && simulation.server.port == 8765)
    }

    @Test func whatHappensWhenModulesFail() throws {
        let simulation = try read("module-errors")
        #expect(simulation.modules.map(\.onError) == [.hold, nil, .stop, nil])
        #expect(
            simulation.modules[0].onErrorLocation
                == SourceLocation(file: "module-errors.yaml", line: 3, column: 63))
        #expect(simulation.execution.onModuleError == .restart && simulation.execution.restartLimit == 12)
        #expect(simulation.execution.livenessSeconds == 0.5)
        #expect(simulation.execution.mirrors == .zeromq)
    }

    @Test func aliasesAndMergeKeys() throws {
        let modules = try read("aliases").modules
        #expect(modules.map(\.name) == ["left", "right", "third", "plain"])
        #expect(
            modules.map(\.arguments) == [
                ["--side", "left"], ["--side", "right"], ["--side", "third"], ["--side", "left"],
            ])
        #expect(modules.allSatisfy { $0.rateHz == 25 && $0.program.hasSuffix("/model") })
    }

    @Test func keysWithoutValues() throws {
        let simulation = try read("empty-values")
        #expect(simulation.modules.map(\.name) == ["a b"])
        #expect(simulation.wires.isEmpty && simulation.hosts.isEmpty)
    }

    @Test func numbers() throws {
        let simulation = try read("numbers")
        #expect(simulation.modules.map(\.rateHz) == [16, 1, 64.0 / 3])
        #expect(simulation.wires.map(\.gain) == [0.5, -0.0, 18_446_744_073_709_551_616, 295_147_905_179_352_825_856])
        #expect(simulation.wires[1].gain.sign == .minus)
        #expect(simulation.wires.map(\.offset) == [5, 15, 10, 0])
        #expect(simulation.execution.endTime == 0)
    }

    @Test func keysThatDoNothingAreWarnedOf() throws {
        let text = """
            version: "0.2"
            modules:
              a: { type: inproc, executable: model.so, args: [x] }
            """
        let (_, warnings) = try ConfigurationReader.parse(
            text: Array(text.utf8), file: "a.yaml", baseDirectory: Corpus.path("Desk"))
        #expect(
            warnings.map(\.description) == [
                "a.yaml:3:44: warning: `args` has no effect on a module of `type: inproc`: it runs inside its node"
            ])
    }

    /// 100 000 wires in a time that nobody notices; the bound is wide for slow, unoptimised builds.
    @Test(.timeLimit(.minutes(1))) func manyWires() throws {
        var text =
            "version: \"0.2\"\nmodules:\n  a: { type: process, executable: model }\n  b: { type: process, executable: model }\nwiring:\n"
        for index in 0..<100_000 { text += "  - { src: a.output_\(index), dst: b.input_\(index), gain: 2 }\n" }
        let (simulation, _) = try ConfigurationReader.parse(
            text: Array(text.utf8), file: "many.yaml", baseDirectory: Corpus.path("Desk"))
        #expect(simulation.wires.count == 100_000)
    }

    /// Wrong names must not cost a search through all names each.
    @Test(.timeLimit(.minutes(1))) func manyFaults() throws {
        var text = "version: \"0.2\"\nmodules:\n"
        for index in 0..<2_000 { text += "  module_\(index): { type: process, executable: model }\n" }
        text += "wiring:\n"
        for index in 0..<20_000 { text += "  - { src: modul_\(index).a, dst: mudole_\(index).b }\n" }
        let error = try #require(throws: ConfigurationError.self) {
            try ConfigurationReader.parse(text: Array(text.utf8), file: "many.yaml", baseDirectory: Corpus.path("Desk"))
        }
        #expect(error.diagnostics.count == 40_000)
        #expect(error.diagnostics[0].message.hasPrefix("unknown module `modul_0`; did you mean `module_0`?"))
    }
}
