import Glibc
import HermesBackplane
import HermesModel
import HermesModule
import HermesPlan
import Synchronization
import Testing

/// A segment with a thread that plays its node: frames go on, edges are served.
private final class RunningSegment: @unchecked Sendable {
    let segment: Segment
    let name: String
    private let isOver = Atomic<Bool>(false)
    private var thread = pthread_t()

    init(_ name: String) throws {
        self.name = "/hermes_\(name)_\(getpid())"
        let place = SourceLocation(file: "test", line: 1, column: 1)
        let simulation = Simulation(
            name: name, baseDirectory: "/",
            modules: [Module(name: "m", kind: .process, program: "/bin/true", location: place)],
            execution: Execution(rateHz: 100, schedule: [["m"]]))
        let signals = [
            AnnouncedSignal(name: "count", type: .i64, direction: .output, unit: "1"),
            AnnouncedSignal(name: "double", type: .i64, direction: .output),
            AnnouncedSignal(name: "in", type: .i32, direction: .input),
            AnnouncedSignal(name: "on", type: .bool, writable: true),
        ]
        let (plan, _) = try Planner.plan(simulation, announcements: [Announcement(signals: signals)])
        segment = try Segment(name: self.name, plan: plan, run: 1)
        segment.setState(.running)
        pthread_create(
            &thread, nil,
            { this in
                Unmanaged<RunningSegment>.fromOpaque(this!).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    private func run() {
        var frame: UInt64 = 0
        while !isOver.load(ordering: .acquiring) {
            segment.serveSnapshot()
            segment.applyWrites()
            frame += 1
            segment.slots[0] = frame
            segment.slots[1] = 2 * frame
            segment.publish(frame: frame, time: Double(frame) / 100)
        }
        segment.setState(.ended)
    }

    func end() {
        isOver.store(true, ordering: .releasing)
        pthread_join(thread, nil)
    }
}

@Suite struct SimulationAPITests {
    @Test func listsTypedSignals() throws {
        let running = try RunningSegment("api_list")
        defer { running.end() }
        let simulation = try SimulationAPI(running.name)
        #expect(simulation.signals.map(\.name) == ["m.count", "m.double", "m.in", "m.on"])
        #expect(simulation.signals.map(\.isWritable) == [false, false, true, true])
        #expect(simulation.signals[0].unit == "1")
        #expect(simulation.rateHz == 100)
    }

    @Test func samplesOneFrameAndNeverAMix() throws {
        let running = try RunningSegment("api_sample")
        defer { running.end() }
        let simulation = try SimulationAPI(running.name)
        for _ in 0..<300 {
            let sample = try simulation.sample(["m.count", "m.double"])
            #expect(sample.values[1].double == 2 * sample.values[0].double)
            #expect(sample.values[0] == .i64(Int64(sample.frame)))
        }
    }

    @Test func setsWhatIsWritableAndConverts() throws {
        let running = try RunningSegment("api_set")
        defer { running.end() }
        let simulation = try SimulationAPI(running.name)
        try simulation.set("m.in", 2.5)
        try simulation.inject(["m.on": 1])
        try simulation.waitFrame(simulation.frame + 2, timeoutSeconds: 10)
        #expect(try simulation.get("m.in") == .i32(2))
        #expect(try simulation.get("m.on") == .bool(true))
    }

    @Test func refusesWithAReason() throws {
        let running = try RunningSegment("api_refuse")
        defer { running.end() }
        let simulation = try SimulationAPI(running.name)
        #expect { try simulation.set("m.count", 1) } throws: {
            guard case SimulationError.readOnlySignal(let text) = $0 else { return false }
            return text.contains("m.count") && text.contains("read-only")
        }
        #expect { try simulation.get("m.coumt") } throws: {
            guard case SimulationError.unknownSignal(let text) = $0 else { return false }
            return text.contains("m.count")
        }
        #expect { try simulation.waitFrame(.max, timeoutSeconds: 0.05) } throws: {
            if case SimulationError.timeout = $0 { true } else { false }
        }
    }

    @Test func saysThatTheSimulationHasEnded() throws {
        let running = try RunningSegment("api_end")
        let simulation = try SimulationAPI(running.name)
        running.end()
        #expect(simulation.state == .ended)
        #expect { try simulation.waitFrame(.max) } throws: {
            if case SimulationError.ended = $0 { true } else { false }
        }
        #expect { try simulation.set("m.in", 1) } throws: {
            if case SimulationError.ended = $0 { true } else { false }
        }
        #expect { try SimulationAPI("/hermes_no_such_simulation") } throws: {
            if case SimulationError.notFound = $0 { true } else { false }
        }
    }
}
