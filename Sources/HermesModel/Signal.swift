import HermesSystem

/// The type of a signal's value; raw values are the segment's `data_type` codes.
public enum SignalType: UInt8, Sendable, CaseIterable, Codable {
    case f64 = 0
    case f32 = 1
    case i64 = 2
    case i32 = 3
    case bool = 4

    /// The word used in configurations: `f64`, `f32`, `i64`, `i32`, `bool`.
    public var word: String {
        switch self {
        case .f64: "f64"
        case .f32: "f32"
        case .i64: "i64"
        case .i32: "i32"
        case .bool: "bool"
        }
    }

    public init?(word: some StringProtocol) {
        guard let type = Self.allCases.first(where: { $0.word == word }) else { return nil }
        self = type
    }
}

/// `module.signal`: the first dot splits; a signal's name may hold more dots, a module's none.
///
/// Compared byte by byte: names that look the same in two normal forms are two names, as for modules in C.
public struct SignalName: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var module: String
    public var signal: String

    public init(module: String, signal: String) {
        self.module = module
        self.signal = signal
    }

    /// Nil unless there is text on both sides of a dot.
    public init?(_ qualified: String) {
        // Bytes, not characters: a dot with a combining mark behind it still splits, as it does for the C modules.
        let bytes = qualified.utf8
        guard let dot = bytes.firstIndex(of: UInt8(ascii: ".")), dot != bytes.startIndex else { return nil }
        let signal = bytes[bytes.index(after: dot)...]
        guard !signal.isEmpty else { return nil }
        self.init(
            module: String(decoding: bytes[..<dot], as: UTF8.self), signal: String(decoding: signal, as: UTF8.self))
    }

    public var description: String { "\(module).\(signal)" }

    public static func == (left: Self, right: Self) -> Bool {
        left.signal.isSame(as: right.signal) && left.module.isSame(as: right.module)
    }

    public func hash(into hasher: inout Hasher) {
        for part in [module, signal] {
            for byte in part.utf8 { hasher.combine(byte) }
            hasher.combine(0 as UInt8)
        }
    }

    /// The order of recordings and listings: by the bytes of the qualified name.
    public static func < (left: Self, right: Self) -> Bool {
        left.description.utf8.lexicographicallyPrecedes(right.description.utf8)
    }
}

/// What a module said of one of its signals when it announced.
public struct AnnouncedSignal: Sendable, Equatable {
    public enum Direction: Sendable, Equatable { case unspecified, input, output, both }

    /// Local name, without the module.
    public var name: String
    public var type: SignalType
    public var writable: Bool
    public var published: Bool
    public var direction: Direction
    public var unit: String?
    public var summary: String?
    /// True for signals carried by `get_signal`/`set_signal`, whose type a configuration may override.
    public var isNamedAccess: Bool

    public init(
        name: String, type: SignalType = .f64, writable: Bool = false, published: Bool = true,
        direction: Direction = .unspecified, unit: String? = nil, summary: String? = nil, isNamedAccess: Bool = false
    ) {
        self.name = name
        self.type = type
        self.writable = writable
        self.published = published
        self.direction = direction
        self.unit = unit
        self.summary = summary
        self.isNamedAccess = isNamedAccess
    }
}
