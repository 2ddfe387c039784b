import HermesModel

/// Looks over the bytes before YAML sees them, so that what no parser should meet has its own, located message.
struct TextCheck {
    private var line = 1
    private var column = 1

    /// Nil for UTF-8 text without NUL and control characters.
    static func firstFault(in bytes: ArraySlice<UInt8>) -> (mark: Mark, message: String)? {
        var check = TextCheck()
        return bytes.withUnsafeBufferPointer { check.scan($0) }
    }

    private mutating func scan(_ bytes: UnsafeBufferPointer<UInt8>) -> (mark: Mark, message: String)? {
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            return (.start, "the file is UTF-16 text; save it as UTF-8")
        }
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            var length = 1
            if byte == UInt8(ascii: "\n")
                || byte == UInt8(ascii: "\r")
                    && !bytes[(index + 1)...].starts(with: CollectionOfOne(UInt8(ascii: "\n")))
            {
                line += 1
                column = 0
            } else if byte == 0 {
                return (mark, "NUL byte; a configuration is text")
            } else if byte < 0x20 && byte != UInt8(ascii: "\t") && byte != UInt8(ascii: "\r") || byte == 0x7F {
                return (mark, "control character \(hex(byte)); a configuration is text")
            } else if byte >= 0x80 {
                let character = Self.character(bytes, at: index)
                if let character, Self.isRefused(character.value) {
                    let code = String(character.value, radix: 16, uppercase: true)
                    return (
                        mark,
                        "character U+\(String(repeating: "0", count: 4 - code.utf8.count))\(code); end lines with plain newlines and use printable text"
                    )
                }
                length = character?.length ?? 0
                if length == 0 { return (mark, "byte \(hex(byte)) is not UTF-8; save the file as UTF-8") }
            }
            column += 1
            index += length
        }
        return nil
    }

    private var mark: Mark { Mark(line: line, column: column) }

    private func hex(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "0x" + (digits.utf8.count == 1 ? "0" : "") + digits
    }

    /// What YAML doesn't print, and what libyaml would count as the end of a line where editors see none.
    private static func isRefused(_ value: UInt32) -> Bool {
        switch value {
        case 0x80..<0xA0, 0x2028, 0x2029, 0xFFFE, 0xFFFF: true
        default: false
        }
    }

    /// The well-formed sequence of two to four bytes that begins here; nil when it isn't one.
    private static func character(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (value: UInt32, length: Int)? {
        let lead = bytes[index]
        let length = lead & 0xE0 == 0xC0 ? 2 : lead & 0xF0 == 0xE0 ? 3 : lead & 0xF8 == 0xF0 ? 4 : 0
        guard length > 0, index + length <= bytes.count else { return nil }
        var value = UInt32(lead) & (0x7F >> UInt32(length))
        for offset in 1..<length {
            guard bytes[index + offset] & 0xC0 == 0x80 else { return nil }
            value = value << 6 | UInt32(bytes[index + offset] & 0x3F)
        }
        let least: UInt32 = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000
        return value >= least && Unicode.Scalar(value) != nil ? (value, length) : nil
    }
}
