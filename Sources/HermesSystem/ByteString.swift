/// What the system is given and gives: paths, arguments, variables of the environment, names of files. The kernel knows
/// bytes; a `String` compares and splits by what people see, where "e" with an accent equals "é" and "/" with an accent is
/// no "/" any more. So these stay bytes until they are shown.
public struct ByteString: Sendable, Hashable {
    public var bytes: [UInt8]

    public init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// The bytes of a text in UTF-8.
    public init(_ text: some StringProtocol) { bytes = Array(text.utf8) }

    /// Up to the NUL.
    public init(cString: UnsafePointer<CChar>) {
        var count = 0
        while cString[count] != 0 { count += 1 }
        bytes = Array(UnsafeRawBufferPointer(start: cString, count: count))
    }

    public static let empty = ByteString(bytes: [])

    public var isEmpty: Bool { bytes.isEmpty }
    public var count: Int { bytes.count }

    /// The text, nil when these bytes are none in UTF-8.
    public var text: String? { String(validating: bytes, as: UTF8.self) }

    /// For a call of the system, which ends a text at its first NUL: whoever takes bytes from elsewhere refuses those that
    /// hold one.
    public func withCString<Result, Failure: Error>(
        _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let terminated = bytes.map { CChar(bitPattern: $0) } + [0]
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

    public static func + (left: ByteString, right: ByteString) -> ByteString {
        ByteString(bytes: left.bytes + right.bytes)
    }
}

extension ByteString: ExpressibleByStringLiteral {
    public init(stringLiteral text: String) { self.init(text) }
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
                rest.count >= length, !Self.isControl(scalar)
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

    /// C0, DEL and C1: what a terminal obeys.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.value < 32 || 127...159 ~= scalar.value }
}

// MARK: Paths

extension ByteString {
    private static let slash = UInt8(ascii: "/")

    /// What stands between slashes; empty parts left out.
    public var pathComponents: [ByteString] { bytes.split(separator: Self.slash).map { ByteString(bytes: $0) } }

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
        return bytes.last == Self.slash ? self + other : self + "/" + other
    }
}
