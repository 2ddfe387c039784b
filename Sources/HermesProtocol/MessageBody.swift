/// What belongs to a control message. A decoder only sees to the types, so every body says what its numbers may be: whoever
/// reads one has the bounds behind it, and may add and multiply without a thought of overflow.
public protocol MessageBody: Codable, Sendable {
    /// - Throws: what names the first field that can't be.
    func check() throws(UnsoundMessage)
}

/// A message that can't be, in words that follow "the message 'open': ".
public struct UnsoundMessage: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    init(_ description: String) { self.description = description }
}

/// What numbers of others may be. Each leaves room for the sums and products that are made of it.
enum Bound {
    /// A moment or a length of time, nanoseconds: 146 years.
    static let nanoseconds: ClosedRange<UInt64> = 0...(1 << 62)
    /// A clock that counts from 1970, nanoseconds.
    static let clock = -(1 << 62)...(1 << 62)
    static let frame: ClosedRange<UInt64> = 0...(1 << 62)
    /// How many there are of anything in memory, also of bytes.
    static let size = 0...(1 << 60)
    /// More of anything than a segment holds.
    static let count = 0...(1 << 29)
    /// Of a step; 0 for ever.
    static let seconds = 0.0...1e9
    static let rate = Double.leastNormalMagnitude...1e9
    static let port = 1...65535
    static let participants = 2...4096
    static let phases = 1...65535
    /// Of a signal, a module: bytes.
    static let name = 1...4096
    /// Of a unit or a description: bytes.
    static let text = 0...65536
    static let int32 = Int(Int32.min)...Int(Int32.max)
}

/// Throws unless a number is there and in range, or missing where it may be.
func require<Value: Comparable & Sendable>(
    _ value: Value?, in range: ClosedRange<Value>, _ field: @autoclosure () -> String
) throws(UnsoundMessage) {
    guard let value, !range.contains(value) else { return }
    throw UnsoundMessage("'\(field())' is \(value), and is to be from \(range.lowerBound) to \(range.upperBound)")
}

/// Throws unless it is so.
func require(_ isSound: Bool, _ what: @autoclosure () -> String) throws(UnsoundMessage) {
    if !isSound { throw UnsoundMessage(what()) }
}

/// Throws unless a name may stand in tables and logs: not empty, not too long, without control characters.
func requireName(_ name: String, _ field: @autoclosure () -> String) throws(UnsoundMessage) {
    try require(name.utf8.count, in: Bound.name, "\(field()), in bytes,")
    try require(!name.utf8.contains { $0 < 32 || $0 == 127 }, "'\(field())' has a control character")
}
