import HermesModel
import HermesPlan
import HermesRecorder
import Testing

@Suite struct FrameDigestTests {
    private static let some: [(String, [AnnouncedSignal])] = [
        ("a", [AnnouncedSignal(name: "x"), AnnouncedSignal(name: "y", type: .i32)]),
        ("b", [AnnouncedSignal(name: "z", type: .bool), AnnouncedSignal(name: "secret", published: false)]),
    ]
    private func value(_ name: String, _ frame: UInt64) -> UInt64 {
        switch name {
        case "a.x": (Double(frame) * 0.1).bitPattern
        case "a.y": frame * 7
        case "b.z": frame % 2
        default: frame &* 0x9E37_79B9
        }
    }

    private func digest(
        _ modules: [(String, [AnnouncedSignal])], frames: [UInt64] = Array(0...50),
        change: (String, UInt64, UInt64) -> UInt64 = { _, _, bits in bits }
    ) throws -> String {
        let recording = try Recording(modules)
        defer { recording.remove() }
        let digest = FrameDigest()
        digest.begin(recording.plan, epoch: 0, isRealtime: false)
        for frame in frames {
            var values: [String: UInt64] = [:]
            for signal in recording.plan.registry.signals {
                let name = signal.name.description
                values[name] = change(name, frame, value(name, frame))
            }
            try recording.show(frame, values, to: digest)
        }
        return digest.text
    }

    @Test func itIsThirtyTwoDigitsAndAlwaysTheSame() throws {
        let text = try digest(Self.some)
        #expect(text.count == 32 && text.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        #expect(try digest(Self.some) == text)
    }

    @Test func registrationAndArrivalDoNotMatter() throws {
        let text = try digest(Self.some)
        #expect(try digest([("b", Array(Self.some[1].1.reversed())), ("a", Array(Self.some[0].1.reversed()))]) == text)
        #expect(try digest(Self.some, frames: Array(0...50).reversed()) == text)
    }

    @Test func whatIsNotPublishedDoesNotMatter() throws {
        #expect(try digest(Self.some) { name, _, bits in name == "b.secret" ? bits ^ 1 : bits } == digest(Self.some))
    }

    @Test func oneBitOfOneValueMatters() throws {
        let text = try digest(Self.some)
        var all: Set = [text]
        for bit in 0..<64 as Range<UInt64> {
            all.insert(
                try digest(Self.some) { name, frame, bits in name == "a.x" && frame == 20 ? bits ^ (1 << bit) : bits })
        }
        #expect(all.count == 65)
    }

    @Test func oneNameOneTypeOneFrameMatter() throws {
        let text = try digest(Self.some)
        func with(_ signal: AnnouncedSignal) -> [(String, [AnnouncedSignal])] {
            [("a", [AnnouncedSignal(name: "x"), signal]), Self.some[1]]
        }
        let zeros: (String, UInt64, UInt64) -> UInt64 = { name, _, bits in name.hasPrefix("a.y") ? 0 : bits }
        var all: Set = [text]
        all.insert(try digest(with(AnnouncedSignal(name: "y", type: .i32)), change: zeros))
        all.insert(try digest(with(AnnouncedSignal(name: "y", type: .i64)), change: zeros))
        all.insert(try digest(with(AnnouncedSignal(name: "y2", type: .i32)), change: zeros))
        all.insert(try digest(with(AnnouncedSignal(name: "y", type: .i32, published: false)), change: zeros))
        all.insert(try digest(Self.some, frames: Array(0...49)))
        all.insert(try digest(Self.some, frames: Array(0...51)))
        all.insert(try digest(Self.some, frames: [0] + Array(2...51)))
        all.insert(try digest(Self.some, frames: []))
        #expect(all.count == 9)
    }

    @Test func valuesThatChangePlacesMatter() throws {
        let two = [("m", [AnnouncedSignal(name: "p"), AnnouncedSignal(name: "q")])]
        let plain = try digest(two) { name, frame, _ in name == "m.p" ? frame : frame + 1000 }
        #expect(try digest(two) { name, frame, _ in name == "m.q" ? frame : frame + 1000 } != plain)
        // The same values in other frames.
        #expect(try digest(two) { name, frame, _ in name == "m.p" ? 50 - frame : 1050 - frame } != plain)
    }

    @Test func eachEpochHasItsOwn() throws {
        let recording = try Recording(Self.some)
        defer { recording.remove() }
        let digest = FrameDigest()
        var texts: [String] = []
        for epoch in 0..<3 as Range<UInt32> {
            digest.begin(recording.plan, epoch: epoch, isRealtime: false)
            for frame in 0...UInt64(epoch % 2) { try recording.show(frame, ["a.x": 5], to: digest) }
            texts.append(digest.text)
        }
        digest.finish()
        #expect(digest.endedEpochs == Array(texts.dropLast()) && digest.text == texts[2])
        #expect(texts[0] == texts[2] && texts[0] != texts[1])
    }
}
