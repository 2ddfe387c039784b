import Testing

@testable import HermesConfiguration

/// The core schema of YAML 1.2, as far as a configuration needs it.
@Suite struct ScalarTests {
    private func meaning(_ text: String) -> Scalar.Meaning { Scalar(text: text, isPlain: true).meaning }

    @Test(arguments: [("0", 0), ("-7", -7), ("+12", 12), ("010", 10), ("0x1F", 31), ("0o17", 15)])
    func integers(text: String, value: Int) { #expect(meaning(text) == .integer(value)) }

    @Test(arguments: [
        ("1.5", 1.5), ("-.5", -0.5), ("5.", 5), ("1e3", 1000), ("1E-2", 0.01), ("+1.e+2", 100), (".inf", .infinity),
        ("-.Inf", -.infinity), ("+.INF", .infinity), ("1e400", .infinity), ("1e-400", 0),
        ("9223372036854775808", 9_223_372_036_854_775_808),
    ])
    func numbers(text: String, value: Double) { #expect(meaning(text) == .number(value)) }

    @Test func notANumber() {
        guard case .number(let value) = meaning(".nan") else { return #expect(Bool(false)) }
        #expect(value.isNaN)
    }

    @Test(arguments: [
        "1_000", "1,5", "1e", "e3", ".", "-", "+", "+-1", "0x", "0xG", "0x-1", "0o8", "-0x1", "1.2.3", "inf", "nan",
        "infinity", "0x1p3",
        "1 000", "-.nan", "1e+", "yes", "no", "on", "off", "True", "FALSE", "nil", "none", "2026-11-21", "12:30",
    ])
    func text(text: String) { #expect(meaning(text) == .text) }

    @Test(arguments: ["", "~", "null", "Null", "NULL"]) func nothing(text: String) { #expect(meaning(text) == .null) }

    @Test func booleans() {
        #expect(meaning("true") == .boolean(true))
        #expect(meaning("false") == .boolean(false))
    }

    @Test(arguments: ["1", "true", "~", ""]) func quotesMakeText(text: String) {
        #expect(Scalar(text: text, isPlain: false).meaning == .text)
    }

    /// What a tag says goes before what the text looks like.
    @Test(arguments: [
        ("!!str 5", false), ("! 5", false), ("!!int \"5\"", true), ("!!float 5", true), ("5", true), ("'5'", false),
    ])
    func tags(text: String, isPlain: Bool) throws {
        let root = try #require(try NodeParser.root(of: Array(text.utf8), findings: Findings(file: "a")))
        guard case .scalar(let scalar) = root.content else { return #expect(Bool(false)) }
        #expect(scalar == Scalar(text: "5", isPlain: isPlain))
    }
}
