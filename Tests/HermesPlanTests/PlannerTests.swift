import HermesModel
@testable import HermesPlan
import Testing

@Suite struct RegistrationTests {
    @Test func signalsStandInTheOrderOfModulesAndAnnouncements() throws {
        var sketch = Sketch()
        sketch.module("zulu", .init(name: "b"), .init(name: "a.dotted.name", type: .i32))
        sketch.module("silent")
        sketch.module("alpha", .init(name: "b", type: .bool))
        let plan = try sketch.plan().plan
        #expect(plan.registry.signals.map(\.name.description) == ["zulu.b", "zulu.a.dotted.name", "alpha.b"])
        #expect(plan.registry.signals.map(\.type) == [.f64, .i32, .bool])
        #expect(plan.modules.map(\.firstSignal) == [0, 2, 2])
        #expect(plan.modules.map(\.signalCount) == [2, 0, 1])
        #expect(plan.registry.index(of: "zulu.a.dotted.name") == 1)
        #expect(plan.registry.get("alpha.b")?.module == 2)
        #expect(plan.registry.get("alpha.c") == nil)
        #expect(plan.registry.signals(ofModule: 0).count == 2)
    }

    @Test func columnsOfARecordingAreThePublishedOnesByName() throws {
        var sketch = Sketch()
        sketch.module("b", .init(name: "y"), .init(name: "hidden", published: false), .init(name: "x"))
        sketch.module("a", .init(name: "z"))
        let plan = try sketch.plan().plan
        #expect(plan.registry.publishedInOrder == [3, 2, 0])
    }

    @Test func aNameIsRegisteredOnce() throws {
        var sketch = Sketch()
        sketch.module("m", .init(name: "x", unit: "m"))
        var registry = try sketch.plan().plan.registry
        var other = registry.signals[0]
        other.unit = "ft"
        #expect(registry.register(other) == nil)
        #expect(registry.signals.count == 1 && registry.get("m.x")?.unit == "m")
    }

    /// Two names that look the same are two names: in the registry, in wires and their patterns, in settings.
    @Test func normalFormsAreTwoSignals() throws {
        let composed = "\u{E9}", decomposed = "e\u{301}"
        var sketch = Sketch()
        sketch.module(
            "m", listed: [.listed(composed, unit: "km")], .init(name: composed, unit: "m"),
            .init(name: decomposed, unit: "m"),
            .init(name: "*\u{301}x"))
        sketch.module(
            "s", .init(name: "a"), .init(name: "b"), .init(name: "pre" + decomposed), .init(name: "pre" + composed))
        sketch.wire("m.\(composed)", "s.a")
        sketch.wire("m.\(decomposed)", "s.b")
        sketch.wire("m.*\u{301}", "s.pre*\u{301}")
        let plan = try sketch.plan().plan
        #expect(plan.registry.signals.prefix(3).map(\.unit) == ["km", "m", nil])
        #expect(plan.registry.index(of: "m.\(composed)") == 0 && plan.registry.index(of: "m.\(decomposed)") == 1)
        #expect(plan.wires.map(\.source) == [0, 1, 1] && plan.wires.map(\.destination) == [3, 4, 5])
        #expect(SignalName("m.\(composed)") != SignalName("m.\(decomposed)"))
        #expect(Set([SignalName("m.\(composed)"), SignalName("m.\(decomposed)")]).count == 2)
    }

    @Test func inputsAreWritableUntilAWireDrivesThem() throws {
        var sketch = Sketch()
        sketch.module(
            "m", .init(name: "in", direction: .input), .init(name: "both", direction: .both),
            .init(name: "out", direction: .output), .init(name: "plain"), .init(name: "open", writable: true),
            .init(name: "wired", writable: true, direction: .input))
        sketch.wire("m.out", "m.wired")
        let signals = try sketch.plan().plan.registry.signals
        #expect(signals.map(\.isWritable) == [true, true, false, false, true, false])
        #expect(signals.map(\.isWired) == [false, false, false, false, false, true])
    }

    @Test func theConfigurationAddsToWhatIsAnnounced() throws {
        var sketch = Sketch()
        sketch.module(
            "m",
            listed: [
                .listed("a", unit: "km", writable: true, published: false), .listed("b", type: .i64),
                .listed("input", writable: false),
            ],
            .init(name: "a", type: .f32, unit: "m", summary: "kept"), .init(name: "b", isNamedAccess: true),
            .init(name: "input", direction: .input))
        let signals = try sketch.plan().plan.registry.signals
        #expect(signals[0].unit == "km" && signals[0].isWritable && !signals[0].isPublished)
        #expect(signals[0].type == .f32 && signals[0].summary == "kept")
        #expect(signals[1].type == .i64 && !signals[1].isWritable && signals[1].isPublished)
        #expect(!signals[2].isWritable)
    }

    @Test func aTypeIsOverriddenOnlyForNamedAccess() {
        var sketch = Sketch()
        sketch.module(
            "m", listed: [.listed("same", type: .f32), .listed("other", line: 51, type: .bool)],
            .init(name: "same", type: .f32), .init(name: "other", type: .f32))
        #expect(
            sketch.errors() == [
                "sim.yaml:51:20: error: module m announces 'other' as f32; a type can be overridden only for modules "
                    + "that use get_signal and set_signal"
            ])
    }

    @Test func listedSignalsStandForThoseOfScriptsAndSilentModules() throws {
        var sketch = Sketch()
        sketch.module("free", kind: .script, isFree: true, listed: [.listed("x", type: .i32), .listed("y")])
        sketch.module("step", kind: .script, listed: [.listed("more", type: .bool)], .init(name: "own"))
        sketch.module("silent", listed: [.listed("z", unit: "s")])
        let plan = try sketch.plan().plan
        #expect(
            plan.registry.signals.map(\.name.description) == ["free.x", "free.y", "step.own", "step.more", "silent.z"])
        #expect(plan.registry.signals.map(\.type) == [.i32, .f64, .f64, .bool, .f64])
        #expect(plan.modules.map(\.isFree) == [true, false, false])
    }

    @Test func aListedSignalMustBeAnnounced() {
        var sketch = Sketch()
        sketch.module(
            "m", listed: [.listed("positon.x"), .listed("zzz", line: 51)], .init(name: "position.x"))
        #expect(
            sketch.errors() == [
                "sim.yaml:50:9: error: module m announces no signal 'positon.x'; did you mean `position.x`?",
                "sim.yaml:51:9: error: module m announces no signal 'zzz'",
            ])
    }

    @Test func everythingWrongIsSaidAtOnceInFileOrder() {
        var sketch = Sketch()
        sketch.module("m", listed: [.listed("nope")], .init(name: "a"))
        sketch.wire("m.gone", "m.a")
        sketch.wire("m.a", "m.a")
        let lines = sketch.errors().compactMap { Int($0.split(separator: ":")[1]) }
        #expect(lines == [50, 101, 102])
    }
}

@Suite struct PhaseTests {
    @Test func phasesAreIndicesInScheduleOrder() throws {
        var sketch = Sketch()
        for name in ["a", "b", "c"] { sketch.module(name, .init(name: "x"), .init(name: "y")) }
        sketch.schedule = [["c"], ["b", "a"]]
        sketch.wire("a.x", "b.y")
        sketch.wire("c.x", "a.y")
        let plan = try sketch.plan().plan
        #expect(plan.phases == [[2], [1, 0]])
        #expect(plan.modules.map(\.phase) == [1, 1, 0])
        #expect(plan.stageOrder == [2, 1, 0])
        // One for each phase, by the wire's source, then one with all.
        #expect(plan.deliveries.count == 3)
        #expect(plan.deliveries[0].copies == [Delivery.Copy(source: 4, destination: 1)])
        #expect(plan.deliveries[1].copies == [Delivery.Copy(source: 0, destination: 3)])
        #expect(plan.deliveries[2].copies.count == 2)
    }

    @Test func ratesBecomeDivisors() throws {
        var sketch = Sketch()
        sketch.rateHz = 300
        sketch.module("base")
        sketch.module("third", rateHz: 100)
        sketch.module("inside", kind: .inproc, rateHz: 7.5)
        let modules = try sketch.plan().plan.modules
        #expect(modules.map(\.divisor) == [1, 3, 40])
        let expected: [Double] = [1.0 / 300, 3.0 / 300, 40.0 / 300]
        #expect(modules.map(\.dt) == expected)
        #expect(modules.map(\.isInproc) == [false, false, true])
    }

    @Test func theSameTwiceGivesTheSamePlan() throws {
        var sketch = Sketch()
        sketch.module("a", .init(name: "x.1"), .init(name: "x.2"), .init(name: "x.3"))
        sketch.module("b", .init(name: "y.1"), .init(name: "y.2"), .init(name: "y.3"))
        sketch.wire("a.x.*", "b.y.*", gain: 2)
        let first = try sketch.plan().plan, second = try sketch.plan().plan
        #expect(first.deliveries == second.deliveries && first.registry.signals == second.registry.signals)
    }
}
