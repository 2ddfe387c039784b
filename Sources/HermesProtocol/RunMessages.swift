import HermesModel
import HermesPlan
import HermesSystem

// What the coordinator says to a host of its run, and what is answered: `ok`, `announced` or `failed` with the number of
// the question (docs/protocol.md).

/// `setup`: the hosts to link with.
public struct SetUp: Codable, Sendable {
    public struct Peer: Codable, Sendable {
        public var index: Int
        public var host: String
        /// Where to dial it; nil for one that dials.
        public var endpoint: ByteString?

        public init(index: Int, host: String, endpoint: ByteString?) {
            self.index = index
            self.host = host
            self.endpoint = endpoint
        }
    }
    /// A peer that this host has a mirror stream with.
    public struct Stream: Codable, Sendable {
        public var index: Int
        /// Where to dial it, and a socket file to try first; both nil for one that dials.
        public var endpoint: String?
        public var path: String?
        /// Keys of the two directions, 64 hexadecimal digits each; nil where the run has no keys and streams are plain.
        public var sendKey: String?
        public var receiveKey: String?

        public init(index: Int, endpoint: String?, path: String?, sendKey: String?, receiveKey: String?) {
            self.index = index
            self.endpoint = endpoint
            self.path = path
            self.sendKey = sendKey
            self.receiveKey = receiveKey
        }
    }
    public var peers: [Peer]
    /// Nil: mirrors go over the run's links.
    public var streams: [Stream]?

    public init(peers: [Peer], streams: [Stream]?) {
        self.peers = peers
        self.streams = streams
    }
}

/// `launch`: the modules to start. Answered by `announced`.
public struct LaunchModules: Codable, Sendable {
    public struct Item: Codable, Sendable {
        public var name: String
        /// process, inproc or script
        public var kind: String
        /// Relative to the node's module root, as is `configuration` and `workingDirectory`.
        public var program: ByteString
        public var arguments: [String]
        /// NAME, VALUE, NAME, VALUE...
        public var environment: [String]
        public var workingDirectory: ByteString?
        public var configuration: ByteString?
        /// Seconds; 0 for ever.
        public var stepTimeoutSeconds: Double
        /// Seconds that each part of its start may take; 0 for ever, 30 if not said.
        public var startTimeoutSeconds: Double?
        /// What its failure does: stop, hold or restart; stop if not said.
        public var onError: String?

        public init(
            name: String, kind: String, program: ByteString, arguments: [String], environment: [String],
            workingDirectory: ByteString?, configuration: ByteString?, stepTimeoutSeconds: Double,
            startTimeoutSeconds: Double? = nil, onError: String?
        ) {
            self.name = name
            self.kind = kind
            self.program = program
            self.arguments = arguments
            self.environment = environment
            self.workingDirectory = workingDirectory
            self.configuration = configuration
            self.stepTimeoutSeconds = stepTimeoutSeconds
            self.startTimeoutSeconds = startTimeoutSeconds
            self.onError = onError
        }
    }
    public var modules: [Item]
    /// How often each may be started again in a run.
    public var restartLimit: Int?
    /// Of a realtime run. Whoever asks hears what came of it, by `applied`.
    public var realtime: RealtimeOrder?
    public init(modules: [Item], restartLimit: Int?, realtime: RealtimeOrder?) {
        self.modules = modules
        self.restartLimit = restartLimit
        self.realtime = realtime
    }
}

/// `announced`: what each module said of itself, in the order asked.
public struct Announced: Codable, Sendable {
    public struct Entry: Codable, Sendable {
        public var isFree: Bool
        public var signals: [Item]
    }
    public struct Item: Codable, Sendable {
        public var name: String
        public var type: SignalType
        /// 1 input, 2 output.
        public var direction: Int
        public var writable: Bool
        public var published: Bool
        public var isNamedAccess: Bool
        public var unit: String?
        public var summary: String?
    }
    public var modules: [Entry]
}

/// `stage`: values over the modules' own; `write`: what the next frame begins with; `sample` and its answer `values`: what
/// somebody wants to see. By slot of the host.
public struct StartValues: Codable, Sendable {
    public var slots: [Int]
    public var bits: [UInt64]
    public init(slots: [Int] = [], bits: [UInt64] = []) {
        self.slots = slots
        self.bits = bits
    }
}

/// `show`: what the simulation is doing, for everybody who looks at the segment.
public struct ShowState: Codable, Sendable {
    public var isPaused: Bool
    public init(isPaused: Bool) { self.isPaused = isPaused }
}

// `applied`, from a host: a `RealtimeReport`, if `launch` asked for one. It comes ahead of the done of frame 0.

// `fired`, from a host: a `ModuleError`. It comes ahead of the done of its frame.

// `times`, from a host, number 0: its `HostTimes`, ahead of its last word: the answer to `terminate`, or `failed`.

/// `terminate`: ends the modules in order.
public struct Terminate: Codable, Sendable {
    public var hurried: Bool
    /// `times` is to come ahead of the answer.
    public var wantsTimes: Bool?
    public init(hurried: Bool, wantsTimes: Bool? = nil) {
        self.hurried = hurried
        self.wantsTimes = wantsTimes
    }
}
