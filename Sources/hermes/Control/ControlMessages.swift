import HermesCoordinator
import HermesModel
import HermesProtocol

/// One line of JSON to `control.sock`.
struct ControlRequest: Codable, Sendable {
    enum Command: String, Codable, Sendable {
        case status, pause, resume, step, reset, stop, mode
        /// For runs over several hosts, whose signals are in no one segment.
        case signals, sample, write
    }
    var command: Command
    /// Frames, with `step`.
    var count: UInt64?
    /// With `mode`.
    var mode: Execution.Mode?
    /// With `sample` and `write`: indices in what `signals` answered.
    var slots: [Int]?
    /// With `write`.
    var bits: [UInt64]?
}

/// One line of JSON back.
struct ControlReply: Codable, Sendable {
    /// Why the command was refused; absent on success.
    var error: String?
    /// The frame at which the command took effect.
    var frame: UInt64?
    var status: RunStatus?
    var signals: [SignalListing]?
    var bits: [UInt64]?
}

/// What `hermes status` shows.
struct RunStatus: Codable, Sendable {
    struct Module: Codable, Sendable {
        var name: String
        var state: String
        /// How often its process was started again.
        var restarts: Int
        /// What `on_module_error` did last to it.
        var lastError: ModuleError?
    }
    var name: String
    /// staging, running or paused.
    var state: String
    var mode: String
    var frame: UInt64
    var epoch: UInt32
    /// Simulated seconds.
    var time: Double
    var rateHz: Double
    /// Frames of the whole run, where it has an end.
    var frames: UInt64?
    var pid: Int32
    /// How many hosts take part, the desk included, whether or not it has modules.
    var hosts: Int
    var modules: [Module]
}
