import HermesSystem

/// A validated configuration: what a simulation *is*, before anything runs.
public struct Simulation: Sendable {
    /// Matches `[A-Za-z0-9_-]{1,64}`.
    public var name: String
    /// The folder that relative paths of desk modules start from, absolute.
    public var baseDirectory: ByteString
    public var hosts: [Host]
    /// In file order.
    public var modules: [Module]
    public var wires: [Wire]
    public var execution: Execution
    public var server: Server

    public init(
        name: String = "sim", baseDirectory: ByteString, hosts: [Host] = [], modules: [Module] = [], wires: [Wire] = [],
        execution: Execution = Execution(), server: Server = Server()
    ) {
        self.name = name
        self.baseDirectory = baseDirectory
        self.hosts = hosts
        self.modules = modules
        self.wires = wires
        self.execution = execution
        self.server = server
    }

    /// All modules are: a run needs no node and no messages.
    public var isAtDesk: Bool { modules.allSatisfy { $0.host == nil } }
}

/// A machine with a `hermes-node`.
public struct Host: Sendable {
    public var name: String
    /// `tcp://ADDRESS:PORT` or `ipc://PATH`.
    public var endpoint: String
    /// The node's public key, 40 Z85 characters.
    public var key: String?
    /// Where peers reach the node when not at `endpoint`.
    public var mirror: String?
    /// What realtime runs use there, in place of what `realtime` says for nodes and modules.
    public var cpus: CPUList?
    public var location: SourceLocation

    public init(
        name: String, endpoint: String, key: String? = nil, mirror: String? = nil, cpus: CPUList? = nil,
        location: SourceLocation
    ) {
        self.name = name
        self.endpoint = endpoint
        self.key = key
        self.mirror = mirror
        self.cpus = cpus
        self.location = location
    }
}

/// A process (or shared object) that computes.
public struct Module: Sendable {
    public enum Kind: String, Sendable { case process, inproc, script }

    public var name: String
    public var kind: Kind
    /// The executable, shared object or script. Absolute for desk modules, as written for modules of a named host.
    public var program: ByteString
    public var arguments: [String]
    /// In file order.
    public var environment: [(name: String, value: String)]
    /// Absolute for desk modules; nil: the folder of the configuration.
    public var workingDirectory: ByteString?
    /// The module's own configuration file. Absolute for desk modules.
    public var configuration: ByteString?
    /// Files and folders it reads besides. Absolute for desk modules.
    public var files: [ByteString]
    /// Nil: the desk.
    public var host: String?
    /// Steps per simulated second; nil: the base rate.
    public var rateHz: Double?
    /// Seconds that each part of its start may take: to announce its signals, `init`, `stage`; also `reset` and `load`. 0
    /// waits for ever; nil: `ordinaryStartSeconds`, or for ever where steps may take for ever.
    public var startTimeoutSeconds: Double?
    /// Interpreters and tables take their time to load.
    public static let ordinaryStartSeconds = 30.0
    /// Seconds; 0 waits for ever; nil: the execution's.
    public var stepTimeoutSeconds: Double?
    /// Nil: the execution's.
    public var onError: ErrorPolicy?
    /// For its steps in realtime runs; nil: those of its host, else those of the execution.
    public var cpus: CPUList?
    public var signals: [SignalSettings]
    /// Of the module's name.
    public var location: SourceLocation
    /// Of `rate_hz`, where given.
    public var rateLocation: SourceLocation?
    /// Of `on_module_error`, where given.
    public var onErrorLocation: SourceLocation?

    public init(
        name: String, kind: Kind, program: ByteString, arguments: [String] = [],
        environment: [(name: String, value: String)] = [], workingDirectory: ByteString? = nil,
        configuration: ByteString? = nil, files: [ByteString] = [], host: String? = nil, rateHz: Double? = nil,
        startTimeoutSeconds: Double? = nil, stepTimeoutSeconds: Double? = nil, onError: ErrorPolicy? = nil,
        cpus: CPUList? = nil,
        signals: [SignalSettings] = [],
        location: SourceLocation, rateLocation: SourceLocation? = nil, onErrorLocation: SourceLocation? = nil
    ) {
        self.name = name
        self.kind = kind
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.configuration = configuration
        self.files = files
        self.host = host
        self.rateHz = rateHz
        self.startTimeoutSeconds = startTimeoutSeconds
        self.stepTimeoutSeconds = stepTimeoutSeconds
        self.onError = onError
        self.cpus = cpus
        self.signals = signals
        self.location = location
        self.rateLocation = rateLocation
        self.onErrorLocation = onErrorLocation
    }
}

extension Module {
    /// How long each part of its start may take, 0 for ever, where a step may take `stepSeconds`.
    public func startSeconds(stepSeconds: Double) -> Double {
        // Who lets steps take for ever has a debugger in mind.
        startTimeoutSeconds ?? ((stepTimeoutSeconds ?? stepSeconds) == 0 ? 0 : Self.ordinaryStartSeconds)
    }
}

/// What happens when a module fails in a frame: it ends, returns other than 0, writes rubbish or takes too long.
public enum ErrorPolicy: String, Sendable, CaseIterable {
    /// The run ends.
    case stop
    /// It is not stepped any more; its outputs stay what they were before that frame.
    case hold
    /// Its process is started again and makes that step, while simulation time waits.
    case restart
}

/// What a configuration says of a signal; keys not given keep what the module announced.
public struct SignalSettings: Sendable {
    /// Local name, without the module.
    public var name: String
    public var type: SignalType?
    public var unit: String?
    public var writable: Bool?
    public var published: Bool?
    public var location: SourceLocation
    /// Of `type`, where given.
    public var typeLocation: SourceLocation?

    public init(
        name: String, type: SignalType? = nil, unit: String? = nil, writable: Bool? = nil, published: Bool? = nil,
        location: SourceLocation, typeLocation: SourceLocation? = nil
    ) {
        self.name = name
        self.type = type
        self.unit = unit
        self.writable = writable
        self.published = published
        self.location = location
        self.typeLocation = typeLocation
    }
}

/// A configured connection. One `*` in both signal names makes it a bulk wire.
public struct Wire: Sendable {
    public var source: SignalName
    public var destination: SignalName
    public var gain: Double
    public var offset: Double
    public var sourceLocation: SourceLocation
    public var destinationLocation: SourceLocation

    public init(
        source: SignalName, destination: SignalName, gain: Double = 1, offset: Double = 0,
        sourceLocation: SourceLocation, destinationLocation: SourceLocation
    ) {
        self.source = source
        self.destination = destination
        self.gain = gain
        self.offset = offset
        self.sourceLocation = sourceLocation
        self.destinationLocation = destinationLocation
    }

    public var isBulk: Bool { source.signal.utf8.contains(UInt8(ascii: "*")) }
}

/// How often a module steps, in frames.
public enum StepInterval {
    /// The longest interval between two steps, in frames.
    public static let longest = Double(UInt32.max)

    /// The frames from one step of a module to its next; both rates in hertz. Nil when the module's rate does not
    /// divide the base rate: the ratio must be an integer within 1e-9, from 1 to `longest`.
    public static func frames(rateHz: Double, baseRateHz: Double) -> Int? {
        let ratio = baseRateHz / rateHz
        let whole = ratio.rounded()
        guard whole >= 1, whole <= longest, abs(ratio - whole) <= 1e-9 else { return nil }
        return Int(whole)
    }
}

/// How frames follow each other.
public struct Execution: Sendable {
    public enum Mode: String, Sendable, CaseIterable, Codable {
        case realtime, afap
        case singleFrame = "single_frame"
    }

    public var mode: Mode
    /// Frames per simulated second.
    public var rateHz: Double
    /// Simulated seconds; nil: until stopped.
    public var endTime: Double?
    /// Phases in order, each the names of its modules; every module stands in exactly one.
    public var schedule: [[String]]
    /// True when the file gave no schedule and `schedule` is the one phase of every module.
    public var isDefaultSchedule: Bool
    /// Seconds; 0 waits for ever.
    public var stepTimeoutSeconds: Double
    /// Seconds without a word after which a host counts as lost.
    public var livenessSeconds: Double
    /// For modules that say nothing of their own.
    public var onModuleError: ErrorPolicy
    /// How often each module may be started again in a run.
    public var restartLimit: Int
    public var mirrors: MirrorTransport = .auto
    /// Counts in mode `realtime`.
    public var realtime: Realtime

    public init(
        mode: Mode = .afap, rateHz: Double = 100, endTime: Double? = nil, schedule: [[String]] = [],
        isDefaultSchedule: Bool = true, stepTimeoutSeconds: Double = 5, livenessSeconds: Double = 2,
        onModuleError: ErrorPolicy = .stop, restartLimit: Int = 5, realtime: Realtime = Realtime()
    ) {
        self.mode = mode
        self.rateHz = rateHz
        self.endTime = endTime
        self.schedule = schedule
        self.isDefaultSchedule = isDefaultSchedule
        self.stepTimeoutSeconds = stepTimeoutSeconds
        self.livenessSeconds = livenessSeconds
        self.onModuleError = onModuleError
        self.restartLimit = restartLimit
        self.realtime = realtime
    }
}

/// What carries signals between hosts.
public enum MirrorTransport: String, Sendable, CaseIterable {
    /// A connection for each pair of hosts: a socket file where both are on one machine, TCP elsewhere.
    case auto
    /// TCP for each pair.
    case tcp
    /// The links that carry step and done.
    case zeromq
}

/// The telemetry server's settings.
public struct Server: Sendable {
    public var enabled: Bool
    public var host: String
    public var port: Int
    public var telemetryHz: Double

    public init(enabled: Bool = false, host: String = "127.0.0.1", port: Int = 8765, telemetryHz: Double = 60) {
        self.enabled = enabled
        self.host = host
        self.port = port
        self.telemetryHz = telemetryHz
    }
}
