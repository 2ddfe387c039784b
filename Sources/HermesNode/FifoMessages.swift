import CHermes
import HermesModel
import HermesPlan
import HermesSystem

/// One message of a module: its type, what it answers, and its body.
struct FifoMessage: Equatable {
    var type: UInt32
    var sequence: UInt32
    var body: [UInt8]
}

/// Bytes that are not what they should be; one sentence for the report.
struct FifoError: Error, Equatable {
    var cause: String
}

/// Cuts a stream of bytes into messages. Every size is bounded before anything is kept.
struct FifoParser {
    private var buffer: [UInt8] = []
    private var consumed = 0
    /// A reply whose end is still to come, and is dropped as it comes.
    private var shortened: FifoMessage?
    private var toDrop = 0
    private var isAbandoned = false
    private static let headerSize = MemoryLayout<hermes_fifo_header>.size
    /// The longest body a module may send.
    static let longest = Int(HERMES_FIFO_LONGEST)
    /// Bytes that are kept of a reply: its status, and of the reason more than anyone reads.
    static let longestReply = MemoryLayout<Int32>.size + longestReason
    static let longestReason = 1 << 16
    /// The longest body of a message that has only a few numbers.
    static let longestWord = 1 << 16
    /// What it says, by type.
    private static let words = ["an announcement", "a reply", "a state", "a message", "a message"]

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if isAbandoned { return }
        if consumed > 0 {
            buffer.removeFirst(consumed)
            consumed = 0
        }
        let dropped = min(toDrop, bytes.count)
        toDrop -= dropped
        buffer.append(contentsOf: bytes.dropFirst(dropped))
    }

    /// Nothing that follows can be cut into messages.
    mutating func abandon() {
        self = FifoParser()
        isAbandoned = true
    }

    /// Bytes held, read or not.
    var kept: Int { buffer.count }

    /// The next whole message, nil when more bytes are needed.
    /// - Parameter admit: looks at type and sequence before the body is waited for; what it refuses is never kept.
    mutating func next(
        admit: (_ type: Int, _ sequence: UInt32) throws(FifoError) -> Void = { _, _ throws(FifoError) in }
    ) throws(FifoError) -> FifoMessage? {
        if let shortened {
            guard toDrop == 0 else { return nil }
            self.shortened = nil
            return shortened
        }
        guard buffer.count - consumed >= Self.headerSize else { return nil }
        var reader = ByteReader(buffer[consumed...])
        guard let magic = reader.u32(), let type = reader.u32(), let sequence = reader.u32(), let size = reader.u32(),
            magic == HERMES_FIFO_MAGIC, (1...5).contains(type)
        else { throw FifoError(cause: "wrote something else than a message on its reply FIFO") }
        let length = Int(size), isReply = Int(type) == Int(HERMES_REPLY)
        let limit = Int(type) <= Int(HERMES_SAVED) ? Self.longest : Self.longestWord
        guard length <= limit else {
            throw FifoError(cause: "sent \(Self.words[Int(type) - 1]) of \(length) bytes; the longest has \(limit)")
        }
        try admit(Int(type), sequence)
        let kept = isReply ? min(length, Self.longestReply) : length
        let start = consumed + Self.headerSize
        guard buffer.count - start >= kept else { return nil }
        let message = FifoMessage(type: type, sequence: sequence, body: Array(buffer[start..<start + kept]))
        consumed = min(start + length, buffer.count)
        toDrop = start + length - consumed
        if consumed == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= 1 << 16)
            consumed = 0
        }
        guard toDrop == 0 else {
            shortened = message
            return nil
        }
        return message
    }
}

/// Little-endian numbers and texts out of a slice; nil past its end.
struct ByteReader {
    private var rest: ArraySlice<UInt8>
    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }
    var remaining: Int { rest.count }

    mutating func u8() -> UInt8? { rest.popFirst() }
    mutating func u32() -> UInt32? {
        guard let bytes = take(4) else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
    mutating func text(_ count: Int) -> String? { take(count).flatMap { String(validating: $0, as: UTF8.self) } }
}

/// The body of an announcement.
enum AnnouncementDecoder {
    static let longestName = 4096
    private static let longestText = 1 << 16
    private static let mostExpected = 1 << 16

    static func decode(_ bytes: [UInt8]) throws(FifoError) -> [AnnouncedSignal] {
        guard bytes.count <= FifoParser.longest else {
            throw FifoError(
                cause: "sent an announcement of \(bytes.count) bytes; the longest has \(FifoParser.longest)")
        }
        var reader = ByteReader(bytes[...])
        let broken = FifoError(cause: "sent a broken announcement")
        guard let count = reader.u32(), Int(count) <= reader.remaining / 16 else { throw broken }
        var signals: [AnnouncedSignal] = []
        // How many there are is only a claim yet.
        let expected = min(Int(count), mostExpected)
        signals.reserveCapacity(expected)
        var names = Set<ByteString>(minimumCapacity: expected)
        for _ in 0..<count {
            guard let typeCode = reader.u8(), let flags = reader.u8(), reader.take(2) != nil,
                let nameLength = reader.u32(), let unitLength = reader.u32(), let summaryLength = reader.u32()
            else { throw broken }
            guard let type = SignalType(rawValue: typeCode) else {
                throw FifoError(cause: "announced a signal of the unknown type \(typeCode)")
            }
            guard nameLength <= longestName else {
                throw FifoError(
                    cause: "announced a signal's name of \(nameLength) bytes; the longest is \(longestName)")
            }
            guard unitLength <= longestText, summaryLength <= longestText else { throw broken }
            guard reader.remaining >= Int(nameLength) + Int(unitLength) + Int(summaryLength) else { throw broken }
            guard let name = reader.text(Int(nameLength)), let unit = reader.text(Int(unitLength)),
                let summary = reader.text(Int(summaryLength))
            else { throw FifoError(cause: "announced a text that is not UTF-8") }
            guard !name.isEmpty else { throw FifoError(cause: "announced a signal without a name") }
            guard !name.unicodeScalars.contains(where: { $0.value < 32 || 127...159 ~= $0.value }) else {
                throw FifoError(cause: "announced a signal with a control character in its name")
            }
            guard names.insert(name.bytes).inserted else {
                throw FifoError(cause: "announced two signals of the name '\(name)'")
            }
            signals.append(
                AnnouncedSignal(
                    name: name, type: type, writable: flags & 1 != 0, published: flags & 2 == 0,
                    direction: direction(flags), unit: unit.isEmpty ? nil : unit,
                    summary: summary.isEmpty ? nil : summary, isNamedAccess: flags & 16 != 0))
        }
        guard reader.isAtEnd else { throw broken }
        return signals
    }

    private static func direction(_ flags: UInt8) -> AnnouncedSignal.Direction {
        switch flags & 12 {
        case 4: .input
        case 8: .output
        case 12: .both
        default: .unspecified
        }
    }
}
