import CHermes
import Glibc

/// Why a simulation refused or could not do something; the text is a sentence.
public enum SimulationError: Error, CustomStringConvertible, Sendable {
    /// No simulation of that name runs here, or it has not staged yet.
    case notFound(String)
    /// There is no such signal; the text names a near one where there is one.
    case unknownSignal(String)
    /// A wire drives the signal, or it is not writable.
    case readOnlySignal(String)
    /// Too many values wait for the next frame edge; none of the call was taken.
    case queueFull(String)
    /// The simulation is over.
    case ended(String)
    /// A reset began a new epoch while the call waited.
    case reset(String)
    case timeout(String)
    case other(String)

    public var description: String {
        switch self {
        case .notFound(let text), .unknownSignal(let text), .readOnlySignal(let text), .queueFull(let text),
            .ended(let text), .reset(let text), .timeout(let text), .other(let text):
            text
        }
    }

    /// What the library said of the call that just returned `code`.
    init(code: Int32) {
        let reason = String(cString: hermes_last_error())
        let text = reason.isEmpty ? String(cString: strerror(code)) : reason
        self =
            switch code {
            case ENOENT: .unknownSignal(text)
            case EPERM: .readOnlySignal(text)
            case ENOBUFS: .queueFull(text)
            case ESHUTDOWN: .ended(text)
            case ECANCELED: .reset(text)
            case ETIMEDOUT: .timeout(text)
            default: .other(text)
            }
    }
}

/// The value of a signal, in its own type.
public enum Value: Sendable, Hashable, CustomStringConvertible {
    case f64(Double)
    case f32(Float)
    case i64(Int64)
    case i32(Int32)
    case bool(Bool)

    public var description: String {
        switch self {
        case .f64(let value): "\(value)"
        case .f32(let value): "\(value)"
        case .i64(let value): "\(value)"
        case .i32(let value): "\(value)"
        case .bool(let value): "\(value)"
        }
    }

    /// As a double; true is 1.
    public var double: Double {
        switch self {
        case .f64(let value): value
        case .f32(let value): Double(value)
        case .i64(let value): Double(value)
        case .i32(let value): Double(value)
        case .bool(let value): value ? 1 : 0
        }
    }

    init(bits: UInt64, type: SignalType) {
        self =
            switch type {
            case .f64: .f64(Double(slotBits: bits))
            case .f32: .f32(Float(slotBits: bits))
            case .i64: .i64(Int64(slotBits: bits))
            case .i32: .i32(Int32(slotBits: bits))
            case .bool: .bool(Bool(slotBits: bits))
            }
    }
}

/// A running simulation on this host, seen from a program: read it, set it, wait for its frames.
///
///     let simulation = try SimulationAPI("/hermes_flight")
///     try simulation.waitFrame(100)
///     try simulation.set("injector.thrust_command", 2.5)
///
/// May be used by several threads.
public final class SimulationAPI: @unchecked Sendable {
    /// What is known of one signal.
    public struct SignalInformation: Sendable {
        public var name: String
        public var type: SignalType
        /// "" for none.
        public var unit: String
        public var description: String
        /// Users may set it, and no wire drives it.
        public var isWritable: Bool
        /// Part of recordings and digests.
        public var isPublished: Bool
        public var isWired: Bool
    }

    public enum State: UInt32, Sendable {
        case staging = 1
        case running = 2
        case paused = 3
        case ended = 4
    }

    /// "/hermes_flight"
    public let name: String
    /// Every signal of this host's modules, in the segment's order.
    public let signals: [SignalInformation]
    private let segment: SegmentClient
    private var client: OpaquePointer { segment.pointer }

    /// Opens a simulation.
    ///
    /// In a program started by Hermes that is no module, the first one tells the node that this process runs freely beside
    /// the frames, and comes back when the simulation has staged.
    /// - Parameters:
    ///   - name: "/hermes_flight" or "flight"; by default that of the simulation which started this program, else "/hermes_sim".
    ///   - timeoutSeconds: How long to wait for the simulation to appear and to stage; 0 asks once.
    public init(_ name: String? = nil, timeoutSeconds: Double = 0) throws {
        let began = hermes_free_script_begin(1e9)
        if began != 0 { throw SimulationError(code: began) }
        self.name = name ?? getenv("HERMES_SHM").map({ String(cString: $0) }) ?? "/hermes_sim"
        let deadline = ContinuousClock.now + .seconds(timeoutSeconds)
        var opened = SegmentClient(opening: self.name)
        while opened == nil {
            let code = errno
            let reason = String(cString: hermes_last_error())
            guard code == ENOENT || code == EAGAIN else { throw SimulationError.other(reason) }
            guard ContinuousClock.now < deadline else { throw SimulationError.notFound(reason) }
            usleep(20_000)
            opened = SegmentClient(opening: self.name)
        }
        segment = opened!
        let client = segment.pointer
        var signals: [SignalInformation] = []
        for index in 0..<hermes_client_count(client) {
            var information = hermes_signal_info()
            let code = hermes_client_info(client, index, &information)
            guard code == 0, let type = SignalType(rawValue: information.type) else {
                throw SimulationError(code: code == 0 ? EINVAL : code)
            }
            signals.append(
                SignalInformation(
                    name: String(cString: information.name), type: type, unit: String(cString: information.unit),
                    description: String(cString: information.description),
                    isWritable: information.flags & UInt32(HERMES_SIGNAL_WRITABLE) != 0 && information.wired == 0,
                    isPublished: information.flags & UInt32(HERMES_SIGNAL_PUBLISHED) != 0,
                    isWired: information.wired != 0))
        }
        self.signals = signals
    }

    /// The current value of a signal.
    public func get(_ signal: String) throws -> Value {
        let index = try index(of: signal)
        var bits: UInt64 = 0
        try check(hermes_client_get_bits(client, index, &bits))
        return Value(bits: bits, type: signals[Int(index)].type)
    }

    /// Queues a value, applied at the next frame edge and converted to the signal's type: integers round half to even
    /// and saturate.
    public func set(_ signal: String, _ value: some SignalValue) throws {
        let index = try index(of: signal)
        try queue([index], [converted(value, to: signals[Int(index)].type)])
    }

    /// Queues values that are applied together, at one frame edge: all of them or, with an error, none.
    // ASCII, or the pairs below.
    public func inject(_ values: [String: Double]) throws { try inject(pairs: values.map { ($0, $1) }) }

    /// The same for names of which two may look the same, as keys of a dictionary may not.
    public func inject(_ values: KeyValuePairs<String, Double>) throws { try inject(pairs: values.map { ($0, $1) }) }

    private func inject(pairs values: [(String, Double)]) throws {
        var indices: [UInt32] = []
        var bits: [UInt64] = []
        for (name, value) in values {
            let index = try index(of: name)
            indices.append(index)
            bits.append(converted(value, to: signals[Int(index)].type))
        }
        if !indices.isEmpty { try queue(indices, bits) }
    }

    /// The values of several signals in one frame, never a mix of two, in the order of `names`.
    public func sample(_ names: [String], timeoutSeconds: Double = 5) throws -> (
        frame: UInt64, time: Double, values: [Value]
    ) {
        let indices = try names.map(index(of:))
        var bits = [UInt64](repeating: 0, count: names.count)
        var frame: UInt64 = 0
        var time = 0.0
        try check(hermes_client_sample(client, indices, indices.count, &bits, &frame, &time, timeoutSeconds))
        return (frame, time, zip(indices, bits).map { Value(bits: $1, type: signals[Int($0)].type) })
    }

    /// The last complete frame; 0 after staging.
    public var frame: UInt64 { hermes_client_frame(client) }
    /// Simulation time of the last complete frame, in seconds.
    public var time: Double { hermes_client_time(client) }
    /// Frames per simulated second.
    public var rateHz: Double { hermes_client_rate(client) }
    /// How many resets there were.
    public var epoch: UInt32 { hermes_client_epoch(client) }
    public var state: State { State(rawValue: hermes_client_state(client)) ?? .ended }

    /// Sleeps until frame `target` is complete. Returns the last complete frame.
    /// - Parameter timeoutSeconds: nil for ever.
    @discardableResult
    public func waitFrame(_ target: UInt64, timeoutSeconds: Double? = nil) throws -> UInt64 {
        try check(hermes_client_wait_frame(client, target, timeoutSeconds ?? .infinity))
        return frame
    }

    private func index(of signal: String) throws -> UInt32 {
        // By its bytes: two names that look alike are two signals.
        let index = hermes_client_find(client, signal)
        if index >= 0 { return UInt32(index) }
        throw SimulationError.unknownSignal(String(cString: hermes_last_error()))
    }

    private func converted<From: SignalValue>(_ value: From, to type: SignalType) -> UInt64 {
        hermes_convert_bits(value.slotBits, From.signalType.rawValue, type.rawValue, 1, 0)
    }

    private func queue(_ indices: [UInt32], _ bits: [UInt64]) throws {
        try check(hermes_client_set_bits(client, indices, bits, indices.count))
    }

    private func check(_ code: Int32) throws {
        if code != 0 { throw SimulationError(code: code) }
    }
}
