import Glibc

/// What the system is given and gives: paths, arguments, variables of the environment, names of files. The kernel knows
/// bytes; a `String` compares and splits by what people see, where "e" with an accent equals "é" and "/" with an accent is
/// no "/" any more. So these stay bytes until they are shown.
public struct ByteString: Sendable, Hashable {
    public var bytes: [UInt8]

    public init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// The bytes of a text in UTF-8.
    public init(_ text: some StringProtocol) { bytes = Array(text.utf8) }

    /// The byte strings that a pointer leads to, up to the NULL: arguments and environments of the system's form.
    public static func strings(
        _ list: UnsafePointer<UnsafeMutablePointer<CChar>?>
    ) -> [ByteString] {
        var strings: [ByteString] = []
        while let string = list[strings.count] { strings.append(ByteString(cString: string)) }
        return strings
    }

    /// Up to the NUL.
    public init(cString: UnsafePointer<CChar>) {
        bytes = Array(UnsafeRawBufferPointer(start: cString, count: strlen(cString)))
    }

    public static let empty = ByteString(bytes: [])

    public var isEmpty: Bool { bytes.isEmpty }
    public var count: Int { bytes.count }

    /// The text, nil when these bytes are none in UTF-8.
    public var text: String? { String(validating: bytes, as: UTF8.self) }

    /// For a call of the system, as `open(path.cString, O_RDONLY)`. The system ends a text at its first NUL: code that takes
    /// bytes from elsewhere refuses those that hold one.
    public var cString: [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

    /// The same for the time of a call.
    public func withCString<Result, Failure: Error>(
        _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let terminated = cString
        var outcome: Swift.Result<Result, Failure>?
        terminated.withUnsafeBufferPointer { buffer in
            do throws(Failure) {
                outcome = .success(try body(buffer.baseAddress!))
            } catch {
                outcome = .failure(error)
            }
        }
        return try outcome!.get()
    }

    public func hasPrefix(_ other: ByteString) -> Bool { bytes.starts(with: other.bytes) }
    public func hasSuffix(_ other: ByteString) -> Bool { bytes.suffix(other.count).elementsEqual(other.bytes) }
    public func contains(_ byte: UInt8) -> Bool { bytes.contains(byte) }

    public func dropFirst(_ count: Int) -> ByteString { ByteString(bytes: bytes.dropFirst(count)) }
    public func dropLast(_ count: Int) -> ByteString { ByteString(bytes: bytes.dropLast(count)) }

    /// What stands before and behind the first such byte; nil without one.
    public func divided(at byte: UInt8) -> (before: ByteString, behind: ByteString)? {
        guard let place = bytes.firstIndex(of: byte) else { return nil }
        return (ByteString(bytes: bytes[..<place]), ByteString(bytes: bytes[(place + 1)...]))
    }

    /// Each occurrence of `part` gives way to `other`.
    public func replacing(_ part: ByteString, with other: ByteString) -> ByteString {
        ByteString(bytes: bytes.replacing(part.bytes, with: other.bytes))
    }

    /// What stands between such bytes, empty parts left out.
    public func split(at byte: UInt8) -> [ByteString] { bytes.split(separator: byte).map { ByteString(bytes: $0) } }

    public static func + (left: ByteString, right: ByteString) -> ByteString {
        ByteString(bytes: left.bytes + right.bytes)
    }
}

extension ByteString: ExpressibleByStringInterpolation {
    public init(stringLiteral text: String) { self.init(text) }
    public init(stringInterpolation parts: StringInterpolation) { bytes = parts.bytes }

    /// Puts bytes in as they are: `"\(folder)/\(name)"` is a path, where a `String` made so is what people are shown.
    public struct StringInterpolation: StringInterpolationProtocol {
        var bytes: [UInt8] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            bytes.reserveCapacity(literalCapacity + 32 * interpolationCount)
        }
        public mutating func appendLiteral(_ text: String) { bytes += text.utf8 }
        public mutating func appendInterpolation(_ string: ByteString) { bytes += string.bytes }
        public mutating func appendInterpolation(_ text: some StringProtocol) { bytes += text.utf8 }
        public mutating func appendInterpolation(_ number: some BinaryInteger) { bytes += String(number).utf8 }
    }
}

extension StringProtocol {
    /// What a name is told from others by: keys of dictionaries, members of sets. `String`s are equal as soon as they look
    /// the same, in whatever normal form.
    public var bytes: ByteString { ByteString(self) }

    /// The same name: byte for byte, as C modules and readers of the segment compare.
    public func isSame(as other: some StringProtocol) -> Bool { utf8.elementsEqual(other.utf8) }
}

extension ByteString: Comparable {
    /// By bytes, which for UTF-8 is by code points.
    public static func < (left: ByteString, right: ByteString) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

extension ByteString: CustomStringConvertible {
    /// For people: the text, and `\xNN` for each byte that is none and for each control character, so that a name can
    /// neither move a terminal's cursor nor begin a line of its own.
    public var description: String {
        var shown = ""
        var rest = bytes[...]
        while let first = rest.first {
            let length = Self.sequenceLength(first)
            if let scalar = String(validating: rest.prefix(length), as: UTF8.self)?.unicodeScalars.first,
                rest.count >= length, !PrintableText.isControl(scalar)
            {
                shown.unicodeScalars.append(scalar)
                rest = rest.dropFirst(length)
            } else {
                shown += Self.escape(first)
                rest = rest.dropFirst()
            }
        }
        return shown
    }

    /// What a parser says of arguments that it was given as `argumentText`: each line for people.
    public static func shownLines(ofEncoded text: String) -> String {
        let lines = ByteString(encodedText: text).bytes.split(
            separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return lines.map { ByteString(bytes: $0).description }.joined(separator: "\n")
    }

    private static func escape(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return "\\x" + (digits.count < 2 ? "0" : "") + digits
    }

    private static func sequenceLength(_ first: UInt8) -> Int {
        switch first {
        case 0xC0..<0xE0: 2
        case 0xE0..<0xF0: 3
        case 0xF0...: 4
        default: 1
        }
    }
}

// MARK: Where only text may stand

extension ByteString {
    /// The bytes that are none of UTF-8 stand as these characters of private use, U+10F780 to U+10F7FF.
    private static let standIns = UInt32(0x10F700)

    static func standIn(_ byte: UInt8) -> Unicode.Scalar { Unicode.Scalar(standIns + UInt32(byte))! }

    /// For JSON and other places that take text only. UTF-8 is the text that it is; each other byte is a character of
    /// private use, and so is each byte of such a character itself, so that `init(encodedText:)` gives back every string.
    public var encodedText: String {
        var encoded = ""
        var rest = bytes[...]
        while let first = rest.first {
            let length = Self.sequenceLength(first)
            if let scalar = String(validating: rest.prefix(length), as: UTF8.self)?.unicodeScalars.first,
                rest.count >= length, Self.byte(of: scalar) == nil
            {
                encoded.unicodeScalars.append(scalar)
                rest = rest.dropFirst(length)
            } else {
                encoded.unicodeScalars.append(Self.standIn(first))
                rest = rest.dropFirst()
            }
        }
        return encoded
    }

    public init(encodedText text: some StringProtocol) {
        bytes = []
        for scalar in text.unicodeScalars {
            if let byte = Self.byte(of: scalar) {
                bytes.append(byte)
            } else {
                bytes += UTF8.encode(scalar)!
            }
        }
    }

    static func byte(of scalar: Unicode.Scalar) -> UInt8? {
        (standIns + 0x80...standIns + 0xFF).contains(scalar.value) ? UInt8(scalar.value & 0xFF) : nil
    }
}

extension ByteString: Codable {
    public init(from decoder: any Decoder) throws {
        self.init(encodedText: try decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(encodedText)
    }
}

// MARK: Paths

extension ByteString {
    private static let slash = UInt8(ascii: "/")

    /// What stands between slashes; empty parts left out.
    public var pathComponents: [ByteString] { split(at: Self.slash) }

    /// Without empty and `.` parts, and without a slash at its end; `..` stays, for a link may stand before it.
    public var tidiedPath: ByteString {
        let parts = bytes.split(separator: Self.slash).filter { !$0.elementsEqual(CollectionOfOne(UInt8(ascii: "."))) }
        let joined = ByteString(bytes: parts.joined(separator: CollectionOfOne(Self.slash)))
        return isAbsolutePath ? "/\(joined)" : joined
    }

    public var isAbsolutePath: Bool { bytes.first == Self.slash }

    /// What follows the last slash; all of it without one.
    public var lastPathComponent: ByteString {
        ByteString(bytes: bytes[(bytes.lastIndex(of: Self.slash).map { $0 + 1 } ?? 0)...])
    }

    /// The folder that it lies in: "." without a slash, "/" beneath the root.
    public var parentPath: ByteString {
        guard let slash = bytes.lastIndex(of: Self.slash) else { return "." }
        return slash == 0 ? "/" : ByteString(bytes: bytes[..<slash])
    }

    /// `other` as seen from this folder: `other` itself where it is absolute.
    public func appendingPath(_ other: ByteString) -> ByteString {
        if other.isAbsolutePath || isEmpty { return other }
        if other.isEmpty { return self }
        return bytes.last == Self.slash ? self + other : self + "/" + other
    }
}
