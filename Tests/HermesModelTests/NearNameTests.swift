import HermesModel
import Testing

@Suite struct NearNameTests {
    @Test(arguments: [
        ("icarsu", "icarus"), ("icaru", "icarus"), ("icaruss", "icarus"), ("ICARUS", "icarus"),
        ("incjetor", "injector"),
        ("f46", "f64"), ("bol", "bool"), ("x", "X"),
    ])
    func finds(name: String, candidate: String) {
        #expect(nearest(to: name, among: ["icarus", "injector", "f64", "bool", "X"]) == candidate)
    }

    @Test(arguments: ["", "zzz", "a", "injury", "completely other", String(repeating: "icarus", count: 30)])
    func findsNothing(name: String) {
        #expect(nearest(to: name, among: ["icarus", "injector", "x", ""]) == nil)
    }

    @Test func prefersTheNearest() {
        #expect(nearest(to: "motor_2", among: ["motor_15", "motor_1", "motor2"]) == "motor_1")
        #expect(nearest(to: "motor_1", among: ["motor_2", "motor_1"]) == "motor_1")
    }

    @Test func wordsTheQuestion() {
        #expect(didYouMean("mod", among: ["mode"]) == "; did you mean `mode`?")
        #expect(didYouMean("other", among: ["mode"]) == "")
    }

    /// Names that look the same are near, however short.
    @Test(arguments: [
        ("\u{E9}", "e\u{301}"), ("e\u{301}", "\u{E9}"), ("\u{212B}", "\u{C5}"), ("\u{B5}", "\u{3BC}"),
        ("\u{3BC}", "\u{B5}"),
        ("\u{FF41}\u{FF42}", "ab"), ("\u{1D465}", "x"), ("\u{430}", "a"), ("x\u{2082}", "x2"), ("a\u{200B}b", "ab"),
    ])
    func findsWhatLooksTheSame(name: String, candidate: String) throws {
        let found = try #require(nearest(to: name, among: ["other", candidate]))
        #expect(found.utf8.elementsEqual(candidate.utf8))
        #expect(didYouMean(name, among: [candidate]).contains("U+"))
    }

    @Test func saysHowNamesAreSpelt() {
        #expect(
            didYouMean("m.\u{B5}_x", among: ["m.\u{3BC}_x"])
                == "; did you mean `m.\u{3BC}_x`? It is spelt with U+03BC where this has U+00B5; names are compared byte by byte"
        )
        #expect(
            didYouMean("\u{E9}", among: ["e\u{301}"]).hasSuffix(
                "It is spelt with U+0065 U+0301 where this has U+00E9, the same text in another Unicode normal form; "
                    + "names are compared byte by byte"))
        #expect(didYouMean("a\u{200B}b", among: ["ab"]).contains("with nothing where this has U+200B"))
        #expect(spelling(of: "größe", besides: "größ") == "", "letters show it")
    }
}
