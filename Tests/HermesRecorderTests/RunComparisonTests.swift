import HermesModel
import HermesPlan
import HermesProtocol
import HermesRecorder
import HermesSystem
import Testing

@Suite struct RunComparisonTests {
    private static let modules: [(String, [AnnouncedSignal])] = [
        (
            "m",
            [
                AnnouncedSignal(name: "y", type: .i64), AnnouncedSignal(name: "x"),
                AnnouncedSignal(name: "z", published: false),
            ]
        )
    ]

    /// Ten frames of a first run, then of a second one with another plan or other values, until it is ended.
    private func compare(
        with modules: [(String, [AnnouncedSignal])] = Self.modules, bytes: Int = 1 << 20,
        change: (UInt64) -> [String: UInt64] = { _ in [:] }
    ) throws -> RunComparison {
        let first = try Recording(Self.modules), second = try Recording(modules)
        defer {
            first.remove()
            second.remove()
        }
        let reference = ReferenceRun(folder: ByteString(first.folder), bytes: bytes)
        try reference.begin(first.plan, epoch: 0, isRealtime: false)
        for frame in 0...9 as ClosedRange<UInt64> { try first.show(frame, ["m.x": frame, "m.y": 7], to: reference) }
        #expect(first.files.isEmpty, "its file has no name")

        let comparison = RunComparison(with: reference)
        #expect(!comparison.hasBegun)
        do {
            try comparison.begin(second.plan, epoch: 0, isRealtime: false)
            for frame in 0...9 as ClosedRange<UInt64> {
                let values = ["m.x": frame, "m.y": 7].merging(change(frame)) { $1 }
                try second.show(frame, values, to: comparison)
            }
            #expect(comparison.difference == nil)
        } catch let failure as RunFailure {
            #expect(failure.frame == comparison.difference?.frame)
        }
        #expect(comparison.hasBegun)
        return comparison
    }

    @Test func equalRunsHaveNoDifference() throws {
        #expect(try compare().difference == nil)
        #expect(try compare { ["m.z": $0 * 3] }.difference == nil, "what is not published does not count")
    }

    @Test func theFirstFrameAndItsSignalsAreNamed() throws {
        let difference = try #require(try compare { $0 < 4 ? [:] : ["m.x": $0 + 1, "m.y": 8] }.difference)
        #expect(difference.frame == 4 && difference.values.map(\.name) == ["m.x", "m.y"])
        #expect(difference.values.map(\.first) == [4, 7] && difference.values.map(\.second) == [5, 8])
        #expect(difference.values.map(\.type) == [.f64, .i64])
    }

    @Test func valuesThatWereNotKeptAreNotNamed() throws {
        // Room for three frames of two signals.
        #expect(try compare(bytes: 48) { $0 == 2 ? ["m.y": 0] : [:] }.difference?.values.map(\.name) == ["m.y"])
        let difference = try #require(try compare(bytes: 48) { $0 == 3 ? ["m.y": 0] : [:] }.difference)
        #expect(difference.frame == 3 && difference.values.isEmpty)
    }

    @Test func otherSignalsAreADifferenceBeforeAnyFrame() throws {
        let difference = try #require(
            try compare(with: [("m", [AnnouncedSignal(name: "x", type: .f32), AnnouncedSignal(name: "y", type: .i64)])])
                .difference)
        #expect(difference.frame == 0 && difference.values.isEmpty)
        #expect(difference.onlyInFirst == ["m.x (f64)"] && difference.onlyInSecond == ["m.x (f32)"])
    }

    @Test func theOrderOfSignalsDoesNotCount() throws {
        let other = [("m", Array(Self.modules[0].1.reversed()))]
        #expect(try compare(with: other).difference == nil)
        #expect(try compare(with: other) { $0 == 5 ? ["m.x": 0] : [:] }.difference?.values.map(\.name) == ["m.x"])
    }

    @Test func aResetEndsAComparison() throws {
        let recording = try Recording(Self.modules)
        defer { recording.remove() }
        let reference = ReferenceRun(folder: ByteString(recording.folder))
        #expect(throws: RunFailure.self) { try reference.begin(recording.plan, epoch: 1, isRealtime: false) }
        #expect(throws: RunFailure.self) {
            try RunComparison(with: reference).begin(recording.plan, epoch: 1, isRealtime: false)
        }
    }
}
