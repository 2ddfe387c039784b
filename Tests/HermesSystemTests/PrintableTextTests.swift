import Testing

@testable import HermesSystem

@Suite struct PrintableTextTests {
    @Test func whatATerminalObeysIsEscaped() {
        #expect(PrintableText.line("plain tésts\tΩ 🚀") == "plain tésts\tΩ 🚀")
        #expect(PrintableText.line("a\u{1B}[31mb") == "a\\x1b[31mb")
        #expect(PrintableText.line("a\nhermes: error: no\r\n") == "a\\nhermes: error: no\\r\\n")
        #expect(PrintableText.line("\0\u{7F}\u{9B}2J") == "\\x00\\x7f\\x9b2J")
        #expect(PrintableText.line("\u{202E}gnp\u{2066}\u{2028}\u{200F}") == "\\u202egnp\\u2066\\u2028\\u200f")
    }

    @Test func severalLinesStayLinesAndJSONKeepsItsMeaning() {
        #expect(PrintableText.lines("a\nb\tc") == "a\nb\tc")
        #expect(PrintableText.lines("{\"a\": \"\u{9B}\u{7F}\u{202E}\"}") == "{\"a\": \"\\u009b\\u007f\\u202e\"}")
        #expect(PrintableText.lines("a\r\u{1B}") == "a\\u000d\\u001b")
    }

    @Test func everyControlCharacterOfEveryKind() {
        for value in (0...0x10FFFF) where !(0xD800...0xDFFF).contains(value) {
            let scalar = Unicode.Scalar(UInt32(value))!
            let isControl = scalar.properties.generalCategory == .control || scalar.properties.isBidiControl
            if isControl && value != 9 { #expect(PrintableText.line(String(scalar)).first == "\\", "\(value)") }
        }
    }
}
