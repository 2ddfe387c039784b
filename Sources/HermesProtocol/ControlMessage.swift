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
    private struct Whole<Body: MessageBody>: Codable {
        var hermes: Int
        var id: Int
        var say: String
        var body: Body
    }
    /// For messages that say all by their name.
    public struct Nothing: MessageBody {
        public init() {}
        public func check() throws(UnsoundMessage) {}
    }

    public init<Body: MessageBody>(_ say: String, id: Int = 0, _ body: Body) throws {
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

    /// What belongs to it, every number within its bounds; nil when that isn't what its name promises.
    public func body<Body: MessageBody>(_: Body.Type) -> Body? { try? read(Body.self) }

    /// What belongs to it, every number within its bounds.
    /// - Throws: what is wrong with it, and with which field.
    public func read<Body: MessageBody>(_: Body.Type = Body.self) throws(UnsoundMessage) -> Body {
        do {
            let body = try JSONDecoder().decode(Whole<Body>.self, from: Data(bytes)).body
            try body.check()
            return body
        } catch let unsound as UnsoundMessage {
            throw UnsoundMessage("the message '\(say)' can't be: \(unsound)")
        } catch {
            throw UnsoundMessage("the message '\(say)' can't be read: \(Self.words(error))")
        }
    }

    /// Which field, and what is wrong with it.
    private static func words(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "\(error)" }
        func field(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
            (context.codingPath + [last].compactMap { $0 }).dropFirst().reduce("") { path, key in
                key.intValue.map { path + "[\($0)]" } ?? (path.isEmpty ? key.stringValue : path + ".\(key.stringValue)")
            }
        }
        switch error {
        case .keyNotFound(let key, let context): return "'\(field(context, key))' is missing"
        case .valueNotFound(_, let context): return "'\(field(context))' is null"
        case .typeMismatch(_, let context): return "'\(field(context))' is of another type"
        case .dataCorrupted(let context) where context.codingPath.count > 1:
            return "'\(field(context))' is none that can be"
        default: return "that is not its form"
        }
    }

    public var encoded: [UInt8] { bytes }
}
