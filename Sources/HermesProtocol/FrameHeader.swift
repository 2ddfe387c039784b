/// The 32 bytes every message of a running simulation begins with, little-endian (docs/protocol.md):
///
///      0  u32  magic, "HRMF"
///      4  u8   kind
///      5  u8   protocol version
///      6  u16  phase: of a mirror, the phase after whose modules it was sent, the number of phases for the start;
///              of a control message 1 when it interrupts whoever waits for something else; of a step 1 when its first
///              frame begins at an edge that was granted before, so that what is set from outside waits; of a done 1 when
///              something that was set from outside waits for an edge that no host has been granted
///      8  u64  run
///     16  u32  epoch
///     20  u32  count: frames a step grants, rows in a done, values in a mirror, in a sample, its answer or a write
///     24  u64  frame: the first of a step, the last of a done, the one a mirror belongs to; of a sample and its answer a
///              number that only these two have
public struct FrameHeader: Sendable, Equatable {
    public enum Kind: UInt8, Sendable {
        case step = 1
        case done = 2
        case mirror = 3
        /// Proves a link before anything is staged.
        case probe = 4
        /// JSON follows.
        case control = 5
        /// Asks a host for values between frames. This kind and the two behind it go only to hosts that offer it.
        case sample = 6
        /// Answers that.
        case values = 7
        /// What the next frame begins with.
        case write = 8
    }

    public static let magic: UInt32 = 0x464D_5248
    public static let size = 32
    /// The phase of a step or a done that holds back what is set from outside.
    public static let held = 1
    /// Frames that one step may grant.
    public static let mostGranted = 1024

    public var kind: Kind
    public var version = UInt8(protocolVersion)
    public var phase: UInt16
    public var run: UInt64
    public var epoch: UInt32
    public var count: UInt32
    public var frame: UInt64

    public init(_ kind: Kind, run: UInt64, epoch: UInt32 = 0, frame: UInt64 = 0, phase: Int = 0, count: Int = 0) {
        self.kind = kind
        self.phase = UInt16(truncatingIfNeeded: phase)
        self.run = run
        self.epoch = epoch
        self.count = UInt32(truncatingIfNeeded: count)
        self.frame = frame
    }

    /// Nil for bytes that are no message of this protocol.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.size, Self.load(bytes, 0, UInt32.self) == Self.magic,
            let kind = Kind(rawValue: bytes[4])
        else { return nil }
        self.kind = kind
        version = bytes[5]
        phase = Self.load(bytes, 6, UInt16.self)
        run = Self.load(bytes, 8, UInt64.self)
        epoch = Self.load(bytes, 16, UInt32.self)
        count = Self.load(bytes, 20, UInt32.self)
        frame = Self.load(bytes, 24, UInt64.self)
    }

    public func store(into bytes: UnsafeMutableRawPointer) {
        func put<T: FixedWidthInteger>(_ value: T, _ offset: Int) {
            bytes.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        }
        put(Self.magic, 0)
        put(kind.rawValue, 4)
        put(version, 5)
        put(phase, 6)
        put(run, 8)
        put(epoch, 16)
        put(count, 20)
        put(frame, 24)
    }

    private static func load<T: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _: T.Type) -> T {
        T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}

/// The version of everything that travels between coordinator and nodes.
public let protocolVersion = 1
/// The oldest version that this one still speaks.
public let oldestProtocolVersion = 1
