import FoundationEssentials

/// One message in JSON, `{"hermes": 1, "id": 7, "say": "open", "body": {...}}`: the protocol's version, the number that
/// the answer bears too, what it is, and what belongs to it. Unknown keys are passed over, so that a version may add some.
public struct ControlMessage: Sendable {
    public var version: Int
    public var id: Int
    public var say: String
    private var bytes: [UInt8]

    private struct Heading: Codable {
        var hermes: Int
        var id: Int
        var say: String
    }
    private struct Whole<Body: Codable>: Codable {
        var hermes: Int
        var id: Int
        var say: String
        var body: Body
    }
    /// For messages that say all by their name.
    public struct Nothing: Codable, Sendable {
        public init() {}
    }

    public init<Body: Codable>(_ say: String, id: Int = 0, _ body: Body) throws {
        version = protocolVersion
        self.id = id
        self.say = say
        let encoder = JSONEncoder()
        // Base64 is full of them.
        encoder.outputFormatting = .withoutEscapingSlashes
        bytes = Array(try encoder.encode(Whole(hermes: protocolVersion, id: id, say: say, body: body)))
    }

    public init(_ say: String, id: Int = 0) throws { try self.init(say, id: id, Nothing()) }

    /// Nil for bytes that are no control message.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.first == UInt8(ascii: "{") else { return nil }
        let data = Data(bytes)
        guard let heading = try? JSONDecoder().decode(Heading.self, from: data) else { return nil }
        version = heading.hermes
        id = heading.id
        say = heading.say
        self.bytes = Array(bytes)
    }

    /// What belongs to it; nil when that isn't what its name promises.
    public func body<Body: Codable>(_: Body.Type) -> Body? {
        try? JSONDecoder().decode(Whole<Body>.self, from: Data(bytes)).body
    }

    public var encoded: [UInt8] { bytes }
}
