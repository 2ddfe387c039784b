import HermesModel
import Testing

@Suite struct SignalNameTests {
    @Test func firstDotSplits() {
        #expect(SignalName("a.b.c") == SignalName(module: "a", signal: "b.c"))
        #expect(SignalName("é.\u{301}x") == SignalName(module: "é", signal: "\u{301}x"))
    }

    @Test(arguments: ["", ".", "a", "a.", ".b"]) func needsBothSides(text: String) {
        #expect(SignalName(text) == nil)
    }
}

@Suite struct StepIntervalTests {
    @Test(
        arguments: [(100.0, 100.0, 1), (50, 100, 2), (100.0 / 3, 100, 3), (0.1, 1000, 10_000), (60, 60.00000000001, 1)]
            as [(Double, Double, Int)])
    func divides(rate: Double, base: Double, frames: Int) {
        #expect(StepInterval.frames(rateHz: rate, baseRateHz: base) == frames)
    }

    @Test(
        arguments: [
            (30.0, 100.0), (200, 100), (99.999, 100), (1e-300, 100), (0, 100), (-50, 100), (.nan, 100),
            (.infinity, 100),
        ] as [(Double, Double)])
    func doesNotDivide(rate: Double, base: Double) {
        #expect(StepInterval.frames(rateHz: rate, baseRateHz: base) == nil)
    }
}
