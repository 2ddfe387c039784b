import HermesModel
@testable import HermesPlan
import Testing

private let here = SourceLocation(file: "test", line: 1, column: 1)

private func simulation(
    _ schedule: [[String]], hosts: [String: String] = [:], rates: [String: Double] = [:], wires: [(String, String)] = []
) -> Simulation {
    let modules = schedule.flatMap { $0 }.sorted().map {
        Module(name: $0, kind: .process, program: "/x", host: hosts[$0], rateHz: rates[$0], location: here)
    }
    return Simulation(
        baseDirectory: "/", modules: modules,
        wires: wires.map {
            Wire(source: SignalName($0)!, destination: SignalName($1)!, sourceLocation: here, destinationLocation: here)
        },
        execution: Execution(rateHz: 100, schedule: schedule))
}

@Suite struct PlanOutlineTests {
    @Test func aWireToALaterPhaseArrivesInTheSameFrame() {
        let outline = PlanOutline(
            simulation(
                [["a", "b"], ["c"]],
                wires: [("a.x", "c.x"), ("c.x", "a.y"), ("a.x", "b.x"), ("a.x", "a.z"), ("a.*", "c.y.*")]))
        #expect(outline.links.map(\.delayFrames) == [0, 1, 1, 1, 0])
        #expect(outline.links.map(\.phase) == [0, 1, 0, 0, 0])
    }

    @Test func ratesBecomeDivisors() {
        let outline = PlanOutline(simulation([["a", "b"]], rates: ["b": 25]))
        #expect(outline.modules.map(\.divisor) == [1, 4])
        #expect(outline.modules.map(\.dt) == [0.01, 0.04])
        #expect(outline.modules.map(\.rateHz) == [100, 25])
    }

    @Test func mirrorsGroupWiresByHostsAndPhase() {
        let outline = PlanOutline(
            simulation(
                [["a"], ["b", "c"]], hosts: ["b": "north", "c": "south"],
                wires: [("a.x", "b.x"), ("b.x", "c.x"), ("a.y", "b.y"), ("a.x", "c.y"), ("b.x", "b.z")]))
        #expect(
            outline.mirrors == [
                PlanOutline.Mirror(from: nil, to: "north", phase: 0, links: [0, 2]),
                PlanOutline.Mirror(from: nil, to: "south", phase: 0, links: [3]),
                PlanOutline.Mirror(from: "north", to: "south", phase: 1, links: [1]),
            ])
    }

    @Test func oneHostHasNoMirrors() {
        #expect(PlanOutline(simulation([["a", "b"]], wires: [("a.x", "b.x")])).mirrors.isEmpty)
        let together = simulation([["a", "b"]], hosts: ["a": "north", "b": "north"], wires: [("a.x", "b.x")])
        #expect(PlanOutline(together).mirrors.isEmpty)
    }

    /// In a flat order the second link is free; in one phase it costs a frame.
    @Test(arguments: [([["a"], ["b"], ["c"]], 0, 0), ([["a", "b", "c"]], 2, 1), ([["c"], ["b"], ["a"]], 2, 1)])
    func chainsAddTheirDelays(schedule: [[String]], delay: Int, direct: Int) {
        let outline = PlanOutline(simulation(schedule, wires: [("b.seen", "c.x"), ("a.x", "b.seen")]))
        #expect(
            outline.chains == [
                PlanOutline.Chain(first: 1, second: 0, delayFrames: delay, directDelayFrames: direct)
            ])
    }

    @Test(
        arguments: [
            ("b.in.*", "b.in.x", true), ("b.in.*", "b.out.x", false), ("b.x", "b.*", true), ("b.in.*", "b.*.y", true),
            ("b.in.*.x", "b.*.y", false), ("b.ab*bc", "b.abc", false), ("b.x", "b.y", false),
        ])
    func starsMakeChains(destination: String, source: String, isChain: Bool) {
        let outline = PlanOutline(
            simulation([["a"], ["b"], ["c"]], wires: [("a.x", destination), (source, "c.x")]))
        #expect(outline.chains.isEmpty == !isChain)
    }
}
