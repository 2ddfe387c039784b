import CHermes
import Glibc
import HermesBackplane
import HermesModel
import HermesPlan
import Testing

@Suite struct OwnershipTests {
    private func sketch() -> SegmentSketch {
        var sketch = SegmentSketch()
        sketch.module("m", signals: [AnnouncedSignal(name: "x")])
        return sketch
    }

    @Test func aLivingOwnersNameIsRefused() throws {
        let name = SegmentSketch.uniqueName(), sketch = sketch()
        let first = try sketch.segment(name)
        first.slots[0] = 42
        let error = #expect(throws: SegmentError.self) { try sketch.segment(name) }
        #expect(error?.description == "the segment \(name) belongs to another process")
        #expect(first.slots[0] == 42)
        #expect(hermes_segment_owner_state(name) == 1)
    }

    @Test func aDeadOwnersSegmentIsReplaced() throws {
        // Not called hermes_: a sweep that happens to come by must not do this test's work.
        let name = SegmentSketch.uniqueName(prefix: ""), sketch = sketch()
        var dead = hermes_view()
        try #require(hermes_segment_create(&dead, name, 8192) == 0)
        memset(dead.base, 0xFF, 8192)
        hermes_view_close(&dead)
        // A process forked meanwhile may hold its descriptor for a moment.
        try #require(eventually { hermes_segment_owner_state(name) == 0 })
        let segment = try sketch.segment(name)
        #expect(hermes_segment_owner_state(name) == 1)
        #expect(segment.slots[0] == 0 && segment.frame == 0)
    }

    @Test func theNameGoesWithItsSegmentAndTheMemoryStays() throws {
        let name = SegmentSketch.uniqueName(), sketch = sketch()
        let segment = try sketch.segment(name)
        let client = try #require(open(segment))
        defer { hermes_client_close(client) }
        segment.unlink()
        #expect(hermes_segment_owner_state(name) == -1)
        segment.slots[0] = (2.5 as Double).bitPattern
        #expect(hermes_shm_get(UnsafeMutableRawPointer(client), "m.x") == 2.5)
        // The name is free for another now, and the first one's end does not take it away.
        let second = try sketch.segment(name)
        segment.unlink()
        #expect(hermes_segment_owner_state(name) == 1)
        second.unlink()
    }

    @Test func aSegmentThatIsDroppedLeavesNothing() throws {
        let name = SegmentSketch.uniqueName()
        do { _ = try sketch().segment(name) }
        #expect(hermes_segment_owner_state(name) == -1)
    }

    @Test func stagingIsNotForClients() throws {
        let segment = try sketch().segment()
        #expect(hermes_client_open(segment.name) == nil)
        #expect(errno == EAGAIN && String(cString: hermes_last_error()).hasSuffix("is still staging"))
        segment.setState(.ended)
        let client = try #require(hermes_client_open(segment.name))
        #expect(hermes_client_state(client) == UInt32(HERMES_STATE_ENDED))
        hermes_client_close(client)
    }

    private func open(_ segment: Segment) -> OpaquePointer? {
        segment.setState(.running)
        return hermes_client_open(segment.name)
    }
}
