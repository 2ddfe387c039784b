/// The 8 bytes of a slot as text and back. Numbers are written in the shortest form that reads back to the same bits.
public enum SignalValue {
    /// `1`, `0.1`, `-3e-7`, `nan`, `inf`, `-inf`; a bool is `true` or `false`.
    public static func text(_ bits: UInt64, _ type: SignalType) -> String {
        switch type {
        case .bool: UInt8(truncatingIfNeeded: bits) != 0 ? "true" : "false"
        default: number(bits, type)
        }
    }

    /// As `text`, but a bool is `1` or `0`: the form of recordings.
    public static func number(_ bits: UInt64, _ type: SignalType) -> String {
        switch type {
        case .f64: shortest(Double(bitPattern: bits).description)
        case .f32: shortest(Float(bitPattern: UInt32(truncatingIfNeeded: bits)).description)
        case .i64: Int64(bitPattern: bits).description
        case .i32: Int32(truncatingIfNeeded: Int64(bitPattern: bits)).description
        case .bool: UInt8(truncatingIfNeeded: bits) != 0 ? "1" : "0"
        }
    }

    /// The shortest text of a double.
    public static func text(_ value: Double) -> String { shortest(value.description) }

    /// Swift writes `2.0` and `1e+20` where `2` and `1e20` read back the same.
    private static func shortest(_ description: String) -> String {
        // By bytes: characters would cost more than the digits, and recordings are made of these.
        let bytes = description.utf8
        if bytes.suffix(2).elementsEqual(".0".utf8) { return String(description.dropLast(2)) }
        guard let plus = bytes.firstIndex(of: UInt8(ascii: "+")) else { return description }
        return String(description[..<plus] + description[description.index(after: plus)...])
    }

    /// The slot's bytes for a text; nil when it is no value of that type (integers out of range included).
    public static func bits(_ text: some StringProtocol, _ type: SignalType) -> UInt64? {
        switch type {
        case .f64: Double(text).map(\.bitPattern)
        case .f32: Float(text).map { UInt64($0.bitPattern) }
        case .i64: Int64(text).map { UInt64(bitPattern: $0) }
        case .i32: Int32(text).map { UInt64(UInt32(bitPattern: $0)) }
        case .bool:
            switch text.lowercased() {
            case "true", "1": 1
            case "false", "0": 0
            default: nil
            }
        }
    }
}
