import HermesModel
import HermesPlan
import Testing

@Suite struct BulkWireTests {
    private func pairs(_ sketch: Sketch) throws -> [String] {
        let plan = try sketch.plan().plan
        return plan.deliveries.last!.copies.map {
            "\(plan.registry.signals[$0.source].name) \(plan.registry.signals[$0.destination].name)"
        }.sorted()
    }

    @Test func theStarStandsForTheSameTextOnBothSides() throws {
        var sketch = Sketch()
        sketch.module("a", .init(name: "pos.x.m"), .init(name: "pos.y.m"), .init(name: "pos.m"), .init(name: "vel.x.m"))
        sketch.module("b", .init(name: "seen x!"), .init(name: "seen y!"))
        sketch.wire("a.pos.*.m", "b.seen *!")
        #expect(try pairs(sketch) == ["a.pos.x.m b.seen x!", "a.pos.y.m b.seen y!"])
    }

    @Test func theStarMayStandForDotsAndForNothing() throws {
        var sketch = Sketch()
        sketch.module("a", .init(name: "p"), .init(name: "p.q.r"))
        sketch.module("b", .init(name: "p"), .init(name: "p.q.r"))
        sketch.wire("a.*", "b.*")
        #expect(try pairs(sketch) == ["a.p b.p", "a.p.q.r b.p.q.r"])
        sketch.wires = []
        sketch.announcements[1].signals = ["_", "_.q.r"].map { AnnouncedSignal(name: $0) }
        sketch.wire("a.p*", "b._*")
        #expect(try pairs(sketch) == ["a.p b._", "a.p.q.r b._.q.r"])
    }

    @Test func bothEndsOfAPatternNeedTextOfTheirOwn() throws {
        var sketch = Sketch()
        sketch.module("a", .init(name: "aba"), .init(name: "abba"))
        sketch.module("b", .init(name: "x"))
        sketch.wire("a.ab*ba", "b.x*")
        #expect(try pairs(sketch) == ["a.abba b.x"])
    }

    @Test func gainAndOffsetHoldForEachWire() throws {
        var sketch = Sketch()
        sketch.module("a", .init(name: "x"), .init(name: "y"))
        sketch.module("b", .init(name: "x"), .init(name: "y", type: .i32))
        sketch.wire("a.*", "b.*", gain: -2, offset: 0.5)
        let conversions = try sketch.plan().plan.deliveries[0].conversions
        #expect(conversions.allSatisfy { $0.gain == -2 && $0.offset == 0.5 && $0.sourceType == .f64 })
        #expect(conversions.map(\.destinationType) == [.f64, .i32])
    }

    @Test func whatMatchesNothingOrLeadsNowhereIsAnError() {
        var sketch = Sketch()
        sketch.module("a", .init(name: "x"))
        sketch.module("b", .init(name: "y"))
        sketch.wire("a.none.*", "b.*")
        sketch.wire("a.*", "b.*")
        #expect(
            sketch.errors() == [
                "sim.yaml:101:10: error: no signal of module a matches 'none.*'",
                "sim.yaml:102:30: error: module b has no signal 'x' (from 'a.*')",
            ])
    }

    @Test func aBulkWireMeetsASingleOne() {
        var sketch = Sketch()
        sketch.module("a", .init(name: "x"), .init(name: "y"))
        sketch.module("b", .init(name: "x"), .init(name: "y"))
        sketch.wire("a.x", "b.y")
        sketch.wire("a.*", "b.*")
        #expect(sketch.errors() == ["sim.yaml:102:30: error: two wires drive 'b.y'; the other stands at line 101"])
    }
}

@Suite struct WireTests {
    @Test func bothSignalsMustExist() {
        var sketch = Sketch()
        sketch.module("a", .init(name: "thrust"))
        sketch.module("b", .init(name: "altitude"))
        sketch.wire("a.trust", "b.altitud")
        #expect(
            sketch.errors() == [
                "sim.yaml:101:10: error: module a has no signal 'trust'; did you mean `thrust`?",
                "sim.yaml:101:30: error: module b has no signal 'altitud'; did you mean `altitude`?",
            ])
    }

    @Test func twoWiresIntoOneSignalAreAnError() {
        var sketch = Sketch()
        sketch.module("a", .init(name: "x"), .init(name: "y"), .init(name: "z"))
        sketch.wire("a.x", "a.z")
        sketch.wire("a.y", "a.z")
        sketch.wire("a.x", "a.z")
        #expect(
            sketch.errors() == [
                "sim.yaml:102:30: error: two wires drive 'a.z'; the other stands at line 101",
                "sim.yaml:103:30: error: two wires drive 'a.z'; the other stands at line 101",
            ])
    }

    @Test func aWireIntoAnOutputIsAnError() {
        var sketch = Sketch()
        sketch.module(
            "a", .init(name: "x"), .init(name: "out", direction: .output), .init(name: "both", direction: .both))
        sketch.wire("a.x", "a.out")
        sketch.wire("a.out", "a.both")
        #expect(
            sketch.errors() == ["sim.yaml:101:30: error: 'a.out' can't be wired: its module announces it as an output"])
    }

    @Test func unitsThatDifferDeserveAWarning() throws {
        var sketch = Sketch()
        sketch.module(
            "a", listed: [.listed("listed", unit: "rad")], .init(name: "x", unit: "m"), .init(name: "same", unit: "ft"),
            .init(name: "scaled", unit: "ft"), .init(name: "none"), .init(name: "to", unit: "ft"),
            .init(name: "listed", unit: "deg"))
        sketch.wire("a.x", "a.to")
        sketch.wire("a.to", "a.same")
        sketch.wire("a.x", "a.scaled", gain: 3.28084)
        sketch.wire("a.x", "a.none")
        sketch.wire("a.x", "a.listed", offset: 1)
        let warnings = try sketch.plan().warnings
        #expect(
            warnings.map(\.description) == [
                "sim.yaml:101:10: warning: 'a.x' is in m, 'a.to' in ft, and the gain is 1",
                "sim.yaml:105:10: warning: 'a.x' is in m, 'a.listed' in rad, and the gain is 1",
            ])
    }
}
