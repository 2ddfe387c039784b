import CHermes
import Dispatch
import Glibc
import HermesModel
import HermesPlan
import Synchronization
import Testing

@testable import HermesBackplane

/// What clients see and do while frames go on.
@Suite struct OutsideTests {
    private let signals = 200

    /// Signals of one module that are all open to writes, then one that is wired and one that is read-only.
    private func open() throws -> (segment: Segment, client: Client) {
        var sketch = SegmentSketch()
        let open = (0..<signals).map { AnnouncedSignal(name: "s\($0)", type: .i64, writable: true) }
        sketch.module(
            "m",
            signals: open + [
                AnnouncedSignal(name: "wired", type: .i64, direction: .input),
                AnnouncedSignal(name: "fixed", type: .i64),
            ])
        sketch.wire("m.fixed", "m.wired")
        let segment = try sketch.segment()
        segment.setState(.running)
        return (segment, try Client(segment.name))
    }

    @Test func aSampleIsOfOneFrameWhateverTheFramesDo() throws {
        let (segment, client) = try open()
        let isOver = Atomic<Bool>(false), frames = DispatchGroup()
        let count = signals
        DispatchQueue(label: "frames").async(group: frames) {
            var frame: UInt64 = 0
            while !isOver.load(ordering: .relaxed) {
                frame += 1
                for slot in 0..<count { segment.slots[slot] = frame }
                segment.publish(frame: frame, time: Double(frame) / 8)
                segment.serveSnapshot()
            }
        }
        var last: UInt64 = 0
        for _ in 0..<400 {
            let sample = try client.sample(Array(0..<UInt32(count)))
            #expect(sample.frame >= last && sample.time == Double(sample.frame) / 8)
            try #require(sample.bits.allSatisfy { $0 == sample.frame }, "a mix of frames")
            last = sample.frame
        }
        isOver.store(true, ordering: .relaxed)
        frames.wait()
    }

    @Test func allValuesOfACallTakeEffectAtOneEdge() throws {
        let (segment, client) = try open()
        #expect(client.set([3, 5, 9], [30, 50, 90]) == 0)
        #expect((segment.slots[3], segment.slots[9]) == (0, 0), "not before the edge")
        #expect(segment.attention == 1)
        #expect(segment.applyWrites() == 3)
        #expect((segment.slots[3], segment.slots[5], segment.slots[9]) == (30, 50, 90))
        #expect(segment.applyWrites() == 0)
    }

    @Test func noWriteShowsInPartsWhileFramesGoOn() throws {
        let (segment, _) = try open()
        let count = signals, writers = DispatchGroup(), name = segment.name
        for writer in 0..<3 as Range<UInt64> {
            DispatchQueue(label: "writer").async(group: writers) {
                guard let client = try? Client(name) else {
                    Issue.record("no client")
                    return
                }
                for round in 0..<200 as Range<UInt64> {
                    let value = writer << 32 | round
                    var code = Int32(ENOBUFS)
                    while code == ENOBUFS {
                        code = client.set(Array(0..<UInt32(count)), Array(repeating: value, count: count))
                        if code == ENOBUFS { sched_yield() }
                    }
                    #expect(code == 0)
                }
            }
        }
        var applied: UInt64 = 0
        let wanted = 3 * 200 * UInt64(count)
        let isDone = eventually {
            applied += segment.applyWrites()
            for slot in 1..<count where segment.slots[slot] != segment.slots[0] {
                Issue.record("a part of a call")
                return true
            }
            return applied == wanted
        }
        #expect(isDone && applied == wanted, "none is lost")
        writers.wait()
    }

    @Test func aFullQueueIsAnErrorAndTakesNothingOfTheCall() throws {
        let (segment, client) = try open()
        let capacity = Int(segment.view.pointee.control.pointee.queue_capacity)
        let most = Array(repeating: UInt32(0), count: capacity - 2)
        #expect(client.set(most, most.map(UInt64.init)) == 0)
        #expect(client.set([1, 2, 3], [1, 2, 3]) == ENOBUFS)
        #expect(client.problem.hasPrefix("the queue of \(segment.name) has no room for 3 more values"))
        #expect(client.set([1, 2], [7, 8]) == 0)
        #expect(segment.applyWrites() == UInt64(capacity))
        #expect((segment.slots[1], segment.slots[2], segment.slots[3]) == (7, 8, 0))
        #expect(client.set([3], [9]) == 0 && segment.applyWrites() == 1)
    }

    @Test func wiredAndReadOnlySignalsAreRefusedWithTheReason() throws {
        let (segment, client) = try open()
        let wired = UInt32(signals), fixed = UInt32(signals + 1)
        #expect(client.set([0, wired], [1, 1]) == EPERM)
        #expect(client.problem == "'m.wired' can't be set: a wire drives it")
        #expect(client.set([0, fixed], [1, 1]) == EPERM)
        #expect(client.problem.hasPrefix("'m.fixed' can't be set: it is read-only"))
        #expect(client.set([0, fixed + 1], [1, 1]) == EINVAL)
        #expect(segment.applyWrites() == 0 && segment.slots[0] == 0, "none of the call's values")
        segment.setState(.ended)
        #expect(client.set([0], [1]) == ESHUTDOWN)
    }

    @Test func whoWaitsForAFrameWakesWithIt() throws {
        let (segment, client) = try open()
        let woken = DispatchGroup(), codes = Mutex<[UInt64: Int32]>([:])
        for target in [1, 4, 9, 9, 200] as [UInt64] {
            DispatchQueue(label: "waiter").async(group: woken) {
                let code = client.wait(target)
                codes.withLock { $0[target] = code }
            }
        }
        var frame: UInt64 = 0
        let isWoken = eventually {
            frame += 1
            segment.publish(frame: frame, time: 0)
            return woken.wait(timeout: .now()) == .success
        }
        #expect(isWoken)
        #expect(codes.withLock { $0 } == [1: 0, 4: 0, 9: 0, 200: 0])
        #expect(client.wait(frame) == 0, "what is past needs no wait")
    }

    @Test func aWaitEndsWithAResetAndWithTheSimulation() throws {
        for (end, code) in [({ $0.beginEpoch() }, ECANCELED), ({ $0.setState(.ended) }, ESHUTDOWN)]
            as [((Segment) -> Void, Int32)]
        {
            let (segment, client) = try open()
            segment.publish(frame: 3, time: 0)
            let waiter = DispatchGroup(), seen = Atomic<Int32>(-1)
            DispatchQueue(label: "waiter").async(group: waiter) { seen.store(client.wait(1000), ordering: .relaxed) }
            #expect(eventually { segment.view.pointee.control.pointee.wait_target == 1000 })
            end(segment)
            waiter.wait()
            #expect(seen.load(ordering: .relaxed) == code)
        }
    }
}

/// libhermes's client for these tests; as its header says, several threads may use it.
private final class Client: @unchecked Sendable {
    private let client: OpaquePointer

    init(_ name: String) throws {
        client = try #require(hermes_client_open(name), "\(String(cString: hermes_last_error()))")
    }

    deinit { hermes_client_close(client) }

    /// Why the last call of this thread failed.
    var problem: String { String(cString: hermes_last_error()) }

    func set(_ indices: [UInt32], _ bits: [UInt64]) -> Int32 {
        hermes_client_set_bits(client, indices, bits, indices.count)
    }

    func wait(_ frame: UInt64) -> Int32 { hermes_client_wait_frame(client, frame, 60) }

    func sample(_ indices: [UInt32]) throws -> (bits: [UInt64], frame: UInt64, time: Double) {
        var bits = [UInt64](repeating: 0, count: indices.count), frame: UInt64 = 0, time = 0.0
        try #require(hermes_client_sample(client, indices, indices.count, &bits, &frame, &time, 60) == 0)
        return (bits, frame, time)
    }
}
