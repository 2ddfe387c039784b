import HermesModel
import HermesPlan

/// What a coordinator asks of a node, whichever way the words travel. All calls come from the thread that runs the
/// frames, save `order`, `raiseAttention` and `abandon`.
///
/// Order: `launch`, `prepare`, `stage`, `keepTime`, then `advance` over and over and `atEdge` between; `terminate` and
/// then `remove` once, always.
public protocol NodeSession: AnyObject {
    /// Starts the modules and returns what each announced, in file order.
    /// - Throws: `RunFailure`.
    func launch() throws -> [Announcement]
    /// Makes the segment and initialises the modules.
    func prepare(_ plan: Plan) throws
    /// Stages the modules, stores `overrides` over what they said and delivers every wire: frame 0.
    func stage(overrides: [(slot: Int, bits: UInt64)]) throws
    /// Makes threads and memory what a realtime run asks for, and says what they are; once, after `stage`, on the thread that
    /// runs the frames. Empty in other modes.
    func keepTime() -> RealtimeReport
    /// Applies what was set from outside, then runs frame `first` and as many behind it as suits the node, at most to
    /// `last`; returns when they are complete. When it throws, `completedFrame` may still have moved.
    func advance(from first: UInt64, through last: UInt64) throws
    /// The last frame that is complete everywhere.
    var completedFrame: UInt64 { get }
    /// The last frame that some host has been told to run. Beyond `completedFrame`, nothing is done between frames but to
    /// advance up to here.
    var grantedFrame: UInt64 { get }
    /// When the next frame is to begin, CLOCK_MONOTONIC nanoseconds; 0: as soon as it can, as all do that nobody paces.
    func expectStart(at due: UInt64)
    /// Has `slots` show a frame of the last `advance`.
    func recall(_ frame: UInt64)
    /// Resets the modules, stores the same overrides and opens an epoch at frame 0.
    func reset() throws
    /// Answers outsiders who want the values of one frame.
    /// - Throws: `RunFailure` when a module was lost since the last frame.
    func atEdge() throws
    /// Before a run counts as complete: what its frames went by is as it was made.
    /// - Throws: `RunFailure` when something wrote over it.
    func conclude() throws
    /// Sorts by host what an outsider wants to see or, with `bits`, to set; by index in the registry. Once staged, from any
    /// thread, so that little is left to do at an edge.
    func order(_ signals: [Int], writing bits: [UInt64]?) -> ValueOrder
    /// Puts values of the last completed frame into an order; between frames. `reply` comes once, on the thread that runs the
    /// frames: at once, or later, when other hosts have answered.
    func sample(_ order: ValueOrder, reply: @escaping (RunFailure?) -> Void) throws
    /// What the next frame begins with, all of it together; between frames.
    func write(_ order: ValueOrder) throws
    /// Ends the modules in order and waits until they are gone. `hurried` after a failure: those that hang get no second
    /// chance.
    func terminate(hurried: Bool)
    /// Modules that did not reach their safe state, each with why; after `terminate`.
    var unsafeModules: [RunFailure] { get }
    /// Where the time of the frames went on each host that has told; after `terminate`, until `remove`.
    var hostTimes: [HostTimes] { get }
    /// Timelines, where they are wanted, of each host that has told; the desk's is first. Between frames that of the desk alone.
    var hostTraces: [TracedHost] { get }
    /// Leaves nothing behind.
    func remove()

    /// The slots of all signals in registry order, 8 bytes each, valid from `prepare` to `remove`.
    var slots: UnsafePointer<UInt64> { get }
    var epoch: UInt32 { get }
    /// Grows when somebody wants something at the next edge.
    var attention: UInt32 { get }
    /// Sleeps until `attention` moves on from `seen` (true) or until `deadline`, CLOCK_MONOTONIC nanoseconds (false).
    func sleep(seen: UInt32, until deadline: UInt64) -> Bool
    func raiseAttention()
    /// Gives up whatever is being waited for: the call under way throws. From any thread.
    func abandon()
    /// Shows what the simulation is doing to everybody who looks at the segment.
    func show(_ state: SegmentPhase)
    /// Each module's state, by name in file order.
    var moduleStates: [(name: String, state: ModuleState)] { get }
    /// What `on_module_error` has done so far, in the order it did. From any thread.
    var moduleErrors: [ModuleError] { get }
}

/// What a simulation is doing, as outsiders see it.
public enum SegmentPhase: Sendable { case running, paused }

/// The life of a module.
public enum ModuleState: String, Sendable, CaseIterable {
    /// Started, announced or initialised, not yet staged.
    case initialising = "init"
    case staged, running, paused, done, error
    /// It failed: it is not stepped any more and its outputs stay.
    case held
    /// It failed and is being started again.
    case restarting
}

/// Why a run ended before its time: code, place, cause.
public struct RunFailure: Error, Codable, Sendable, CustomStringConvertible {
    public enum Code: String, Codable, Sendable {
        case launch, announce, exit, signal, status, timeout, protocolError = "protocol", resource, refused
        /// A host is gone or can't be reached.
        case lost
    }
    public var code: Code
    public var module: String?
    public var host: String?
    /// With `lost`, the other end of a link.
    public var peer: String?
    public var frame: UInt64?
    /// One sentence without the place.
    public var cause: String
    /// The module's last lines on standard error.
    public var lastLines: [String]

    public init(
        _ code: Code, module: String? = nil, host: String? = nil, frame: UInt64? = nil, cause: String,
        lastLines: [String] = []
    ) {
        self.code = code
        self.module = module
        self.host = host
        self.frame = frame
        self.cause = cause
        self.lastLines = lastLines
    }

    public var description: String {
        var place: [String] = []
        if let module { place.append("module \(module)") }
        if let host { place.append(module != nil ? "on host \(host)" : "host \(host)") }
        if let frame { place.append("at frame \(frame)") }
        let said = lastLines.isEmpty ? "" : "; last lines: " + lastLines.joined(separator: " | ")
        return (place.isEmpty ? "" : place.joined(separator: " ") + ": ") + cause + said
    }
}
