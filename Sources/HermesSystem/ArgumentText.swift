extension ProcessArguments {
    /// Without the program's name, for a parser that takes texts only: see `ByteString.argumentText`.
    public static var texts: [String] { words.map(\.argumentText) }
}

extension ByteString {
    /// `encodedText` for parsers that look for `=` by characters: an accent right behind one would hide it, and stands as its
    /// bytes.
    public var argumentText: String {
        var text = ""
        var isBehindSign = false
        for scalar in encodedText.unicodeScalars {
            if isBehindSign && !scalar.isASCII && Self.byte(of: scalar) == nil {
                for byte in UTF8.encode(scalar)! { text.unicodeScalars.append(Self.standIn(byte)) }
            } else {
                text.unicodeScalars.append(scalar)
            }
            isBehindSign = scalar == "="
        }
        return text
    }
}
