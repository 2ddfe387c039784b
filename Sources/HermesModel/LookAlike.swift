/// Code points that people can't tell from others: those that Unicode holds for compatible (Python normalises identifiers, so
/// `µ`, the micro sign, in a source becomes the Greek letter), and letters of other scripts that look like Latin ones.
enum LookAlike {
    /// One code point for all that look like it, whatever the case of a Latin letter.
    static func seen(_ point: UInt32) -> UInt32 {
        switch point {
        case 0x41...0x5A: point | 0x20
        case ..<0x80: point
        // Full width.
        case 0xFF01...0xFF5E: seen(point - 0xFEE0)
        // Mathematical letters and digits.
        case 0x1D400...0x1D6A3: 0x61 + (point - 0x1D400) % 26
        case 0x1D7CE...0x1D7FF: 0x30 + (point - 0x1D7CE) % 10
        case 0x2070, 0x2074...0x2079: 0x30 + point - 0x2070
        case 0x2080...0x2089: 0x30 + point - 0x2080
        case 0x2010...0x2015, 0x2212: 0x2D
        case 0xA0, 0x2000...0x200A, 0x202F, 0x3000: 0x20
        default: single[point] ?? point
        }
    }

    private static let single: [UInt32: UInt32] = {
        let pairs: [(String, String)] = [
            ("\u{B5}\u{3D1}\u{3D5}\u{3F5}\u{3F1}\u{3D6}\u{3F0}", "\u{3BC}θφερπκ"),
            ("\u{B2}\u{B3}\u{B9}\u{17F}\u{2113}\u{210E}", "231slh"),
            // Cyrillic and Greek.
            ("аеорсухіјѕԁһАВЕКМНОРСТХІЈЅ", "aeopcyxijsdhabekmhopctxijs"),
            ("ονΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ovabezhikmnoptyx"),
        ]
        return Dictionary(
            pairs.flatMap { zip($0.unicodeScalars.map(\.value), $1.unicodeScalars.map(\.value)) },
            uniquingKeysWith: { first, _ in first })
    }()
}
