import HermesModel
import Testing

@testable import HermesProtocol

/// Who is asked for what: a pure function of the simulation.
@Suite struct RealtimeOrderTests {
    private static let nowhere = SourceLocation(file: "sim.yaml", line: 1, column: 1)

    private func cpus(_ numbers: Int...) -> CPUList { CPUList(numbers, location: Self.nowhere) }

    private func module(_ name: String, _ host: String?, _ cpus: CPUList? = nil, _ kind: Module.Kind = .process)
        -> Module
    {
        Module(name: name, kind: kind, program: "/m", host: host, cpus: cpus, location: Self.nowhere)
    }

    private var simulation: Simulation {
        Simulation(
            baseDirectory: "/",
            hosts: [
                Host(name: "a", endpoint: "tcp://127.0.0.1:1", location: Self.nowhere),
                Host(name: "b", endpoint: "tcp://127.0.0.1:2", cpus: cpus(5), location: Self.nowhere),
            ],
            modules: [
                module("m0", nil), module("m1", "a"), module("m2", "b"), module("m3", "b", cpus(7)),
                module("m4", "b", nil, .inproc),
            ],
            execution: Execution(
                mode: .realtime,
                realtime: Realtime(
                    priority: 10, coordinatorCPUs: cpus(0), nodeCPUs: cpus(1), moduleCPUs: cpus(2), locksMemory: true)))
    }

    @Test func ownCPUsGoBeforeThoseOfTheHostAndThoseBeforeEverybodys() throws {
        func wish(_ priority: Int, _ cpu: Int) -> RealtimeWish {
            RealtimeWish(priority: priority, cpus: [cpu], lock_memory: true)
        }
        let desk = try #require(RealtimeOrder(simulation, host: nil))
        #expect(desk.frames == wish(10, 0) && desk.modules == [wish(9, 2)])
        let a = try #require(RealtimeOrder(simulation, host: "a"))
        #expect(a.frames == wish(10, 1) && a.modules == [wish(9, 2)])
        let b = try #require(RealtimeOrder(simulation, host: "b"))
        #expect(b.frames == wish(10, 5))
        #expect(b.modules == [wish(9, 5), wish(9, 7), RealtimeWish()], "what is inproc has the thread of its node")
    }

    @Test func nothingIsAskedInOtherModes() {
        var other = simulation
        other.execution.mode = .afap
        #expect(RealtimeOrder(other, host: nil) == nil)
        other.execution = Execution(mode: .realtime)
        #expect(RealtimeOrder(other, host: "a")?.isEmpty == true)
        #expect(RealtimeOrder(other, host: "b")?.frames.cpus == [5], "a host's own CPUs count without `realtime`")
    }

    @Test func anOlderCoordinatorsLaunchIsUnderstood() throws {
        let message = try ControlMessage("launch", LaunchModules(modules: [], restartLimit: 3, realtime: nil))
        #expect(!String(decoding: message.encoded, as: UTF8.self).contains("realtime"))
        let body = try #require(message.body(LaunchModules.self))
        #expect(body.realtime == nil && body.restartLimit == 3)
        let order = RealtimeOrder(simulation, host: "b")
        let later = try ControlMessage("launch", LaunchModules(modules: [], restartLimit: nil, realtime: order))
        let read = try #require(later.body(LaunchModules.self)?.realtime)
        #expect(read.frames == order?.frames && read.modules == order?.modules)
    }
}
