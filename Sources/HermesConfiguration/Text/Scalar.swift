/// A scalar as written, and whether its text alone decides its type (plain) or it is text whatever it says (quoted).
struct Scalar: Sendable, Equatable {
    var text: String
    var isPlain: Bool

    /// What a scalar says by the core schema of YAML 1.2.
    enum Meaning: Sendable, Equatable {
        case null
        case boolean(Bool)
        case integer(Int)
        /// Also integers too large for Int. May be infinite or NaN.
        case number(Double)
        case text
    }

    var meaning: Meaning {
        guard isPlain else { return .text }
        let bytes = text.utf8
        guard let first = bytes.first else { return .null }
        switch first {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
            return Self.number(text) ?? .text
        case UInt8(ascii: "~"), UInt8(ascii: "n"), UInt8(ascii: "N"):
            return ["~", "null", "Null", "NULL"].contains(text) ? .null : .text
        case UInt8(ascii: "t"), UInt8(ascii: "f"):
            return text == "true" ? .boolean(true) : text == "false" ? .boolean(false) : .text
        default:
            return .text
        }
    }

    private static func number(_ text: String) -> Meaning? {
        if text.hasPrefix("0x") { return integer(text.dropFirst(2), radix: 16) }
        if text.hasPrefix("0o") { return integer(text.dropFirst(2), radix: 8) }
        switch text {
        case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": return .number(.infinity)
        case "-.inf", "-.Inf", "-.INF": return .number(-.infinity)
        case ".nan", ".NaN", ".NAN": return .number(.nan)
        default: break
        }
        guard let isInteger = decimalShape(text) else { return nil }
        if isInteger, let value = Int(text) { return .integer(value) }
        return Double(text).map(Meaning.number)
    }

    /// Digits after `0x` or `0o`, which take no sign.
    private static func integer(_ digits: Substring, radix: Int) -> Meaning? {
        guard !digits.isEmpty, digits.utf8.first != UInt8(ascii: "+"), digits.utf8.first != UInt8(ascii: "-") else {
            return nil
        }
        if let value = Int(digits, radix: radix) { return .integer(value) }
        var value = 0.0
        for digit in digits {
            guard let worth = digit.isASCII ? digit.hexDigitValue : nil, worth < radix else { return nil }
            value = value * Double(radix) + Double(worth)
        }
        return .number(value)
    }

    /// Whether `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` without fraction and exponent; nil when it is no
    /// such number. Double's own parser takes more (hex floats, "inf"), so the shape is settled first.
    private static func decimalShape(_ text: String) -> Bool? {
        var bytes = Substring(text).utf8
        func isSign(_ byte: UInt8?) -> Bool { byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") }
        func takeDigits() -> Int {
            let digits = bytes.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
            bytes = bytes.dropFirst(digits)
            return digits
        }
        if isSign(bytes.first) { bytes = bytes.dropFirst() }
        let whole = takeDigits()
        var fraction = 0
        var isInteger = true
        if bytes.first == UInt8(ascii: ".") {
            bytes = bytes.dropFirst()
            fraction = takeDigits()
            isInteger = false
        }
        guard whole + fraction > 0 else { return nil }
        if let letter = bytes.first, letter | 0x20 == UInt8(ascii: "e") {
            bytes = bytes.dropFirst()
            if isSign(bytes.first) { bytes = bytes.dropFirst() }
            guard takeDigits() > 0 else { return nil }
            isInteger = false
        }
        return bytes.isEmpty ? isInteger : nil
    }
}
