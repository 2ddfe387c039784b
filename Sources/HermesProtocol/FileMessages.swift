import FoundationEssentials
import HermesSystem

// What is said to a node's endpoint about the files beneath its module root (docs/protocol.md). Every path starts there
// and stays beneath it.

/// `hashes`: what is at these paths? Answered by `hashed`.
public struct AskHashes: Codable, Sendable {
    /// At most this many in one question.
    public static let mostPaths = 256

    public var paths: [ByteString]
    public init(paths: [ByteString]) { self.paths = paths }
}

/// `hashed`: what was found, in the order asked.
public struct FoundFiles: Codable, Sendable {
    public struct Entry: Codable, Sendable, Equatable {
        public enum Kind: String, Codable, Sendable {
            case file, folder, absent
            /// Neither, or not to be read.
            case other
        }
        public var kind: Kind
        /// Of a file: SHA-256, 64 hexadecimal digits.
        public var hash: String?
        public var isExecutable: Bool
        /// Why it can't be read.
        public var cause: String?

        public init(_ kind: Kind, hash: String? = nil, isExecutable: Bool = false, cause: String? = nil) {
            self.kind = kind
            self.hash = hash
            self.isExecutable = isExecutable
            self.cause = cause
        }
    }
    public var entries: [Entry]
    public init(entries: [Entry]) { self.entries = entries }
}

/// `put`: a piece of a file, from its beginning on. Answered by `took`; with the last piece the file stands at its path,
/// whole, or what stood there before still does.
public struct PutPiece: Codable, Sendable {
    /// Bytes in one piece.
    public static let longest = 1 << 20
    /// Bytes of the largest file.
    public static let longestFile = 1 << 40

    /// Chosen by the sender, another one for each file it sends.
    public var upload: UInt64
    public var path: ByteString
    public var offset: Int
    /// Bytes of the whole file.
    public var total: Int
    public var isExecutable: Bool
    /// In JSON as base64.
    public var bytes: Data
    /// Of the whole file; with its last piece.
    public var hash: String?

    public init(
        upload: UInt64, path: ByteString, offset: Int, total: Int, isExecutable: Bool, bytes: Data, hash: String?
    ) {
        self.upload = upload
        self.path = path
        self.offset = offset
        self.total = total
        self.isExecutable = isExecutable
        self.bytes = bytes
        self.hash = hash
    }
}

/// `took`: how much of the file is there.
public struct TookPiece: Codable, Sendable {
    public var received: Int
    public init(received: Int) { self.received = received }
}

/// `folder`: makes a folder, and those it lies in. Answered by `ok`.
public struct MakeFolder: Codable, Sendable {
    public var path: ByteString
    public init(path: ByteString) { self.path = path }
}
