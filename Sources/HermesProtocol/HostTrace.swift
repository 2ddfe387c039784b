import FoundationEssentials

/// What a host's ring held in the end, in the form in which it travels: `trace`.
public struct HostTrace: Codable, Sendable {
    public var host: String
    /// Names of its modules by index, and of all participants.
    public var modules: [String]
    public var participants: [String]
    /// Events that had to make room for later ones.
    public var lost: UInt64
    /// 40 bytes an event, little-endian, in base64: begin u64, end u64, frame u64, epoch u32, detail u32, kind u16, subject u16,
    /// and 4 bytes zero.
    private var bytes: Data

    private enum CodingKeys: String, CodingKey {
        case host, modules, participants, lost
        case bytes = "events"
    }
    private static let size = 40

    /// - Parameter events: oldest first.
    public init(host: String, modules: [String], participants: [String], _ events: [TraceEvent], lost: UInt64) {
        self.host = host
        self.modules = modules
        self.participants = participants
        self.lost = lost
        bytes = Data(count: events.count * Self.size)
        bytes.withUnsafeMutableBytes { target in
            for (index, event) in events.enumerated() {
                let at = index * Self.size
                target.storeBytes(of: event.begin.littleEndian, toByteOffset: at, as: UInt64.self)
                target.storeBytes(of: event.end.littleEndian, toByteOffset: at + 8, as: UInt64.self)
                target.storeBytes(of: event.frame.littleEndian, toByteOffset: at + 16, as: UInt64.self)
                target.storeBytes(of: event.epoch.littleEndian, toByteOffset: at + 24, as: UInt32.self)
                target.storeBytes(of: event.detail.littleEndian, toByteOffset: at + 28, as: UInt32.self)
                target.storeBytes(of: event.kind.littleEndian, toByteOffset: at + 32, as: UInt16.self)
                target.storeBytes(of: event.subject.littleEndian, toByteOffset: at + 34, as: UInt16.self)
            }
        }
    }

    /// Whether the bytes are those of events, and of no more than a host keeps.
    var isWhole: Bool { bytes.count % Self.size == 0 && bytes.count / Self.size <= Self.most }
    private static let most = 65536

    /// Oldest first; what is of no known kind, or ends before it begins, is left out.
    public var events: [TraceEvent] {
        bytes.withUnsafeBytes { source in
            func load<T: FixedWidthInteger>(_ at: Int, _: T.Type) -> T {
                T(littleEndian: source.loadUnaligned(fromByteOffset: at, as: T.self))
            }
            return (0..<source.count / Self.size).compactMap { index -> TraceEvent? in
                let at = index * Self.size
                guard let kind = TraceEvent.Kind(rawValue: load(at + 32, UInt16.self)) else { return nil }
                let event = TraceEvent(
                    kind, begin: load(at, UInt64.self), end: load(at + 8, UInt64.self),
                    frame: load(at + 16, UInt64.self), epoch: load(at + 24, UInt32.self),
                    subject: Int(load(at + 34, UInt16.self)), detail: Int(load(at + 28, UInt32.self)))
                return event.end >= event.begin && event.end < 1 << 62 ? event : nil
            }
        }
    }
}

/// How far another host's CLOCK_MONOTONIC is ahead of this one's, measured now and then, and in a straight line between.
public struct ClockLine: Sendable {
    /// Moments of the other clock, rising, and how far it was ahead, nanoseconds.
    private var points: [(at: UInt64, ahead: Int64)] = []

    public init() {}

    /// Two clocks of one machine.
    public static var own: ClockLine {
        var line = ClockLine()
        line.points = [(0, 0)]
        return line
    }

    public var isKnown: Bool { !points.isEmpty }

    /// A message asked for the other clock at `asked` and its answer `there` came at `heard`; the closest guess is the middle.
    public mutating func add(asked: UInt64, there: UInt64, heard: UInt64) {
        let error = (heard - asked) / 2, ahead = Int64(bitPattern: there &- (asked + error))
        if let last = points.last, last.at >= there { return }
        // As good a guess, and the right one for a host on the same machine: clocks of two machines begin when these do.
        points.append((there, ahead.magnitude <= error ? 0 : ahead))
    }

    /// A moment of the other clock, by this one.
    public func here(_ there: UInt64) -> UInt64 {
        guard let first = points.first, let last = points.last else { return there }
        var ahead = first.ahead
        if points.count > 1 {
            // Beyond the last measurement the drift goes on as it did.
            let drift = Double(last.ahead &- first.ahead) / Double(last.at - first.at)
            let drifted = (drift * (Double(there) - Double(first.at))).rounded()
            // A host may say anything.
            ahead &+= Int64(exactly: drifted) ?? 0
        }
        return there &- UInt64(bitPattern: ahead)
    }
}

/// What one host told, and its clock.
public struct TracedHost: Sendable {
    public var trace: HostTrace
    public var clock: ClockLine

    public init(trace: HostTrace, clock: ClockLine) {
        self.trace = trace
        self.clock = clock
    }
}
