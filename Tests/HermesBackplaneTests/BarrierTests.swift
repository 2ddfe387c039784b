import CHermes
import Dispatch
import Glibc
import HermesModel
import HermesPlan
import HermesSystem
import Testing

@testable import HermesBackplane

/// Threads that step like module processes.
private final class ModuleThreads: @unchecked Sendable {
    private let segment: Segment
    private let stop = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
    private let group = DispatchGroup()
    private let count: Int

    init(_ segment: Segment, _ modules: Range<Int>, step: @escaping @Sendable (_ module: Int, _ frame: UInt64) -> Int32)
    {
        self.segment = segment
        count = modules.count
        stop.initialize(to: 0)
        for module in modules {
            // Each process has a view of its own.
            nonisolated(unsafe) let view = UnsafeMutablePointer<hermes_view>.allocate(capacity: 1)
            view.initialize(to: segment.view.pointee)
            DispatchQueue(label: "module \(module)").async(group: group) { [self] in
                while hermes_barrier_await(view, UInt32(module), 0, stop) == 1 {
                    let generation = view.pointee.answered
                    let status = step(module, view.pointee.control.pointee.current_frame)
                    hermes_barrier_finish_step(view, UInt32(module), generation, status)
                }
                view.deallocate()
            }
        }
    }

    /// Ends the threads; false when one does not.
    func end() -> Bool {
        stop.pointee = 1
        return eventually {
            for module in 0..<count { hermes_barrier_nudge(segment.view, UInt32(module)) }
            return group.wait(timeout: .now()) == .success
        }
    }

    deinit { stop.deallocate() }
}

@Suite struct BarrierTests {
    /// As many modules in each phase as `shape` says; each but those of the first phase hears the phase before it.
    private func sketch(_ shape: [Int], inproc: Set<Int> = []) -> SegmentSketch {
        var sketch = SegmentSketch(), next = 0
        sketch.schedule = []
        for (phase, count) in shape.enumerated() {
            let names = (next..<next + count).map { "m\($0)" }
            for (offset, name) in names.enumerated() {
                sketch.module(
                    name, kind: inproc.contains(next + offset) ? .inproc : .process,
                    signals: [AnnouncedSignal(name: "in", type: .i64), AnnouncedSignal(name: "out", type: .i64)])
                if phase > 0 { sketch.wire("m\(next - 1).out", "\(name).in") }
            }
            sketch.schedule!.append(names)
            next += count
        }
        return sketch
    }

    /// What a module of phase p makes of frame n: n + p, if it heard its predecessor's value of this very frame.
    private static func compute(_ segment: Segment, _ module: Int, _ frame: UInt64) {
        let isFirst = segment.view.pointee.modules[module].phase == 0
        segment.slots[2 * module + 1] = isFirst ? frame : segment.slots[2 * module] + 1
    }

    @Test(arguments: [[1], [1, 1, 1, 1], [3, 2], [6], [1, 6, 1], [7, 5]])
    func phasesFollowEachOtherWithinAFrame(shape: [Int]) throws {
        let segment = try sketch(shape).segment(), modules = shape.reduce(0, +)
        let threads = ModuleThreads(segment, 0..<modules) { module, frame in
            Self.compute(segment, module, frame)
            return 0
        }
        for frame in 1...400 as ClosedRange<UInt64> {
            segment.beginFrame(frame)
            try #require(segment.waitForFrame(until: patience()) == .complete)
            for module in 0..<modules {
                let phase = UInt64(segment.view.pointee.modules[module].phase)
                try #require(segment.slots[2 * module + 1] == frame + phase)
                // A module says so once it has handed on, a moment after the frame can be complete.
                #expect(eventually { !segment.isOwed(byModule: module) })
            }
            segment.publish(frame: frame, time: Double(frame) / 8)
        }
        #expect(threads.end())
    }

    @Test func theNodesOwnWorkIsOneMoreModuleOfItsPhase() throws {
        let segment = try sketch([1, 2, 1], inproc: [1]).segment()
        let outside = ModuleThreads(segment, 0..<4) { module, frame in
            Self.compute(segment, module, frame)
            return 0
        }
        for frame in 1...400 as ClosedRange<UInt64> {
            segment.beginFrame(frame)
            try #require(segment.waitForFrame(until: patience()) == .work(phase: 1))
            #expect(segment.slots[7] == (frame == 1 ? 0 : frame + 1), "the last phase waits for the node")
            Self.compute(segment, 1, frame)
            segment.finishWork(phase: 1)
            try #require(segment.waitForFrame(until: patience()) == .complete)
            #expect((0..<4).map { segment.slots[2 * $0 + 1] } == [frame, frame + 1, frame + 1, frame + 2])
        }
        #expect(outside.end())
    }

    @Test func aFailedStepIsAFaultAndReleasesNobodyElse() throws {
        let segment = try sketch([1, 1]).segment()
        let threads = ModuleThreads(segment, 0..<2) { module, frame in
            Self.compute(segment, module, frame)
            return module == 0 && frame == 3 ? 5 : 0
        }
        for frame in 1...2 as ClosedRange<UInt64> {
            segment.beginFrame(frame)
            try #require(segment.waitForFrame(until: patience()) == .complete)
        }
        segment.beginFrame(3)
        #expect(segment.waitForFrame(until: patience()) == .fault)
        #expect(segment.status(ofModule: 0) == 5 && segment.status(ofModule: 1) == 0)
        #expect(threads.end())
        #expect(segment.slots[3] == 3, "module 1 never saw frame 3")
    }

    @Test func whoDoesNotAnswerIsOwedUntilTheDeadline() throws {
        let segment = try sketch([1, 1]).segment()
        let before = monotonicNow()
        segment.beginFrame(1)
        #expect(segment.waitForFrame(until: monotonicNow() + 1_000_000) == .deadline)
        #expect(segment.isOwed(byModule: 0) && eventually { !segment.isOwed(byModule: 1) })
        #expect((before...monotonicNow()).contains(segment.releaseTime(ofPhase: 0)))
        DispatchQueue(label: "loss").async { segment.raiseFault() }
        #expect(segment.waitForFrame(until: patience()) == .fault)
    }

    @Test func attentionWakesTheSleeper() throws {
        let segment = try sketch([1]).segment(), seen = segment.attention
        #expect(!segment.sleep(seen: seen, until: monotonicNow() + 1_000_000))
        DispatchQueue(label: "outside").async { segment.raiseAttention() }
        #expect(segment.sleep(seen: seen, until: patience()))
        #expect(segment.sleep(seen: seen, until: patience()), "what came before is not slept over")
        #expect(segment.attention != seen)
    }
}
