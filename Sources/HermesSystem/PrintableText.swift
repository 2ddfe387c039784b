/// Text from elsewhere, as it is shown: what modules, other hosts and files say may neither move a terminal's cursor nor
/// begin a line that looks like one of ours.
public enum PrintableText {
    /// One line: line ends and all other control characters are escaped, a tab stays.
    public static func line(_ text: String) -> String {
        escaped(text) { scalar in
            switch scalar {
            case "\t": nil
            case "\n": "\\n"
            case "\r": "\\r"
            default: scalar.value < 0x100 ? "\\x" + hexadecimal(scalar.value, 2) : "\\u" + hexadecimal(scalar.value, 4)
            }
        }
    }

    /// Several lines, whose ends stay. What is escaped is so as in JSON, which therefore keeps its meaning.
    public static func lines(_ text: String) -> String {
        escaped(text) { scalar in
            scalar == "\t" || scalar == "\n" ? nil : "\\u" + hexadecimal(scalar.value, 4)
        }
    }

    /// - Parameter escape: what stands for a control character; nil to keep it.
    private static func escaped(_ text: String, _ escape: (Unicode.Scalar) -> String?) -> String {
        guard text.unicodeScalars.contains(where: { isControl($0) && escape($0) != nil }) else { return text }
        var shown = ""
        for scalar in text.unicodeScalars {
            if isControl(scalar), let escape = escape(scalar) {
                shown += escape
            } else {
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }

    private static func hexadecimal(_ value: UInt32, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    /// C0, DEL and C1, which a terminal obeys; line and paragraph separators; and marks, embeddings, overrides and isolates,
    /// which have text read in another order than it is written in.
    static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F...0x9F, 0x061C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
