import HermesModel
import HermesPlan
import HermesSystem

// What is said to a node's endpoint, before, beside and after the runs (docs/protocol.md).

/// `hello`: who asks. Answered by `welcome`.
public struct Hello: Codable, Sendable {
    public var version: String
    public var protocolVersion: Int
    public var oldestProtocol: Int

    public init(version: String) {
        self.version = version
        protocolVersion = HermesProtocol.protocolVersion
        oldestProtocol = oldestProtocolVersion
    }
}

/// `welcome`: what a node is and has.
public struct Welcome: Codable, Sendable {
    public var version: String
    public var protocolVersion: Int
    public var oldestProtocol: Int
    /// The node's wall clock, nanoseconds since 1970.
    public var clockNanoseconds: Int
    public var cores: Int
    /// Bytes.
    public var memory: Int
    public var machine: Machine
    /// Names of simulations that run there.
    public var running: [String]

    public init(
        version: String, protocolVersion: Int, oldestProtocol: Int, clockNanoseconds: Int, cores: Int, memory: Int,
        machine: Machine, running: [String]
    ) {
        self.version = version
        self.protocolVersion = protocolVersion
        self.oldestProtocol = oldestProtocol
        self.clockNanoseconds = clockNanoseconds
        self.cores = cores
        self.memory = memory
        self.machine = machine
        self.running = running
    }
}

/// `pong`: the answer to `ping`, given at once.
public struct Pong: Codable, Sendable {
    /// The node's wall clock, nanoseconds since 1970.
    public var clockNanoseconds: Int
    /// Its CLOCK_MONOTONIC.
    public var monotonicNanoseconds: UInt64?

    public init(clockNanoseconds: Int, monotonicNanoseconds: UInt64) {
        self.clockNanoseconds = clockNanoseconds
        self.monotonicNanoseconds = monotonicNanoseconds
    }
}

/// What decides whether the same module computes the same bits on two machines.
public struct Machine: Codable, Sendable, Equatable {
    public var architecture: String
    public var processor: String
    /// Of the processor, those that libc picks its mathematical functions by.
    public var features: [String]
    public var libc: String

    public init(architecture: String, processor: String, features: [String], libc: String) {
        self.architecture = architecture
        self.processor = processor
        self.features = features
        self.libc = libc
    }
}

/// `open`: makes room for a run on this host. Answered by `opened`.
public struct OpenRun: Codable, Sendable {
    public var simulation: String
    /// What the configuration calls the host asked.
    public var host: String
    /// The host's index in the plan, and how many take part, the desk included.
    public var index: Int
    public var participants: Int
    public var run: UInt64
    public var security: LinkSecurity
    /// Another address that peers dial, where the configuration has `mirror:`.
    public var mirrorAddress: String?
    /// Seconds without a word after which another host counts as lost.
    public var livenessSeconds: Double
    /// Mirrors are to have connections of their own; nil: over ZeroMQ.
    public var wantsStreams: Bool?

    public init(
        simulation: String, host: String, index: Int, participants: Int, run: UInt64, security: LinkSecurity,
        mirrorAddress: String?, livenessSeconds: Double, wantsStreams: Bool
    ) {
        self.wantsStreams = wantsStreams
        self.simulation = simulation
        self.host = host
        self.index = index
        self.participants = participants
        self.run = run
        self.security = security
        self.mirrorAddress = mirrorAddress
        self.livenessSeconds = livenessSeconds
    }
}

/// What proves who is who on the links of one run; made by the coordinator for this run alone.
public struct LinkSecurity: Codable, Sendable {
    /// What every participant shares; on links without keys the password, and part of each identity.
    public var token: String
    /// With keys: this participant's own pair, and the public keys of all by index. Without: both nil.
    public var publicKey: String?
    public var secretKey: String?
    public var participants: [String]?

    public init(token: String, publicKey: String? = nil, secretKey: String? = nil, participants: [String]? = nil) {
        self.token = token
        self.publicKey = publicKey
        self.secretKey = secretKey
        self.participants = participants
    }
}

/// `opened`: where the run's link listens.
public struct OpenedRun: Codable, Sendable {
    /// Of a node on TCP.
    public var port: Int?
    /// Of a node on `ipc://`.
    public var path: ByteString?
    /// Where mirror streams are met; nil where none are.
    public var streams: StreamPlace?
    /// It knows `sample`, `values` and `write` in bytes.
    public var takesValues: Bool?

    public init(port: Int?, path: ByteString?) {
        takesValues = true
        self.port = port
        self.path = path
    }
}

/// Where a host is dialled for its mirror streams.
public struct StreamPlace: Codable, Sendable {
    /// Nil on a node on `ipc://`.
    public var port: Int?
    /// A socket file, for those of the same machine.
    public var path: String?
    /// The same on hosts that share a kernel, a network and so, very likely, their files.
    public var machine: String

    public init(port: Int?, path: String?, machine: String) {
        self.port = port
        self.path = path
        self.machine = machine
    }
}

/// `refused`: the answer to anything that was not done, with what to do.
public struct Refused: Codable, Sendable, Error, CustomStringConvertible {
    public var cause: String
    public init(_ cause: String) { self.cause = cause }
    public var description: String { cause }
}

/// `end`: ends a run without regard to what its host waits for. Has no answer.
public struct EndRun: Codable, Sendable {
    public var run: UInt64
    /// Why, where the coordinator does not know.
    public var cause: String?

    public init(run: UInt64, cause: String? = nil) {
        self.run = run
        self.cause = cause
    }
}

/// `line`: somebody on a host has something to say to people; from a node, unasked.
public struct SaidLine: Codable, Sendable {
    public var run: UInt64
    /// Nil: the node itself warns.
    public var module: String?
    public var text: String

    public init(run: UInt64, module: String?, text: String) {
        self.run = run
        self.module = module
        self.text = text
    }
}

/// `gone`: a run's process on this host has ended; from a node, unasked.
public struct GoneRun: Codable, Sendable {
    public var run: UInt64
    /// What it died of; nil when it ended in order.
    public var cause: String?

    public init(run: UInt64, cause: String?) {
        self.run = run
        self.cause = cause
    }
}
