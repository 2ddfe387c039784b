import CHermes

/// The types of signals: `Double`, `Float`, `Int` (or `Int64`), `Int32` and `Bool`.
///
/// A value is known by the 8 bytes of its slot, small types in the first bytes.
public protocol SignalValue: Sendable {
    static var signalType: SignalType { get }
    init(slotBits: UInt64)
    var slotBits: UInt64 { get }
}

/// The type of a signal's value.
public enum SignalType: UInt32, Sendable, CaseIterable {
    case f64 = 0
    case f32 = 1
    case i64 = 2
    case i32 = 3
    case bool = 4
}

extension Double: SignalValue {
    public static var signalType: SignalType { .f64 }
    public init(slotBits: UInt64) { self.init(bitPattern: slotBits) }
    public var slotBits: UInt64 { bitPattern }
}

extension Float: SignalValue {
    public static var signalType: SignalType { .f32 }
    public init(slotBits: UInt64) { self.init(bitPattern: UInt32(truncatingIfNeeded: slotBits)) }
    public var slotBits: UInt64 { UInt64(bitPattern) }
}

extension Int: SignalValue {
    public static var signalType: SignalType { .i64 }
    public init(slotBits: UInt64) { self.init(bitPattern: UInt(slotBits)) }
    public var slotBits: UInt64 { UInt64(UInt(bitPattern: self)) }
}

extension Int64: SignalValue {
    public static var signalType: SignalType { .i64 }
    public init(slotBits: UInt64) { self.init(bitPattern: slotBits) }
    public var slotBits: UInt64 { UInt64(bitPattern: self) }
}

extension Int32: SignalValue {
    public static var signalType: SignalType { .i32 }
    public init(slotBits: UInt64) { self.init(bitPattern: UInt32(truncatingIfNeeded: slotBits)) }
    public var slotBits: UInt64 { UInt64(UInt32(bitPattern: self)) }
}

extension Bool: SignalValue {
    public static var signalType: SignalType { .bool }
    public init(slotBits: UInt64) { self = slotBits & 0xFF != 0 }
    public var slotBits: UInt64 { self ? 1 : 0 }
}

/// Settings of a signal beside its direction.
public struct SignalOptions: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Users may set it from outside.
    public static let writable = SignalOptions(rawValue: 1)
    /// Not published: left out of recordings and digests.
    public static let hidden = SignalOptions(rawValue: 2)

    static let input = SignalOptions(rawValue: 4)
    static let output = SignalOptions(rawValue: 8)
}

/// The one 8-byte cell that libhermes copies to and from the segment around each step.
///
/// It is never freed: libhermes holds its address as long as the process lives, a signal may not.
struct SignalCell {
    private let address: UnsafeMutablePointer<UInt64>

    init(_ bits: UInt64) {
        address = .allocate(capacity: 1)
        address.initialize(to: bits)
    }

    var bits: UInt64 {
        get { address.pointee }
        nonmutating set { address.pointee = newValue }
    }

    /// For `hermes_declare` alone.
    var storage: UnsafeMutableRawPointer { UnsafeMutableRawPointer(address) }
}

/// A signal without its type; how a module's signals are found and announced.
public class AnySignal {
    let type: SignalType
    let defaultBits: UInt64
    let options: SignalOptions
    let unit: String?
    let summary: String?
    let cell: SignalCell
    /// Local name; by default that of the property.
    public internal(set) var name: String?

    init(_ name: String?, type: SignalType, bits: UInt64, unit: String?, summary: String?, options: SignalOptions) {
        self.name = name
        self.type = type
        self.defaultBits = bits
        self.unit = unit
        self.summary = summary
        self.options = options
        cell = SignalCell(bits)
    }

    func restoreDefault() {
        cell.bits = defaultBits
    }
}

/// A signal of one type. Use it through ``Input``, ``Output`` or ``Signal``.
public class TypedSignal<Value: SignalValue>: AnySignal {
    public final var value: Value {
        get { Value(slotBits: cell.bits) }
        set { cell.bits = newValue.slotBits }
    }

    init(_ name: String?, _ value: Value, unit: String?, summary: String?, options: SignalOptions) {
        super.init(name, type: Value.signalType, bits: value.slotBits, unit: unit, summary: summary, options: options)
    }
}

/// A signal the module reads: driven by a wire, else set by users; without either it keeps its default.
///
///     @Input("Vehicle.thrust", unit: "N") var thrust = 0.0
@propertyWrapper
public final class Input<Value: SignalValue>: TypedSignal<Value> {
    public init(
        wrappedValue: Value, _ name: String? = nil, unit: String? = nil, summary: String? = nil,
        options: SignalOptions = []
    ) {
        super.init(name, wrappedValue, unit: unit, summary: summary, options: options.union(.input))
    }

    public var wrappedValue: Value {
        get { value }
        set { value = newValue }
    }
}

/// A signal the module computes; a wire into it is refused.
@propertyWrapper
public final class Output<Value: SignalValue>: TypedSignal<Value> {
    public init(
        wrappedValue: Value, _ name: String? = nil, unit: String? = nil, summary: String? = nil,
        options: SignalOptions = []
    ) {
        super.init(name, wrappedValue, unit: unit, summary: summary, options: options.union(.output))
    }

    public var wrappedValue: Value {
        get { value }
        set { value = newValue }
    }
}

/// A signal the module computes that a wire or, with `.writable`, a user may also set.
@propertyWrapper
public final class Signal<Value: SignalValue>: TypedSignal<Value> {
    public init(
        wrappedValue: Value, _ name: String? = nil, unit: String? = nil, summary: String? = nil,
        options: SignalOptions = []
    ) {
        super.init(name, wrappedValue, unit: unit, summary: summary, options: options)
    }

    public var wrappedValue: Value {
        get { value }
        set { value = newValue }
    }
}
