/// What `on_module_error` did when a module failed, in place of ending the run.
public struct ModuleError: Codable, Sendable, Equatable {
    public enum Action: String, Codable, Sendable { case held, restarted }

    public var module: String
    public var host: String
    public var epoch: UInt32
    /// The frame in which it failed; where it did so between two frames, the later one.
    public var frame: UInt64
    public var action: Action
    /// One sentence without the place.
    public var cause: String
    /// How manieth restart of this module it was.
    public var restart: Int?
    /// The first frame whose results are not those of an undisturbed run; nil where they are, for its state had been saved.
    public var differsFrom: UInt64?

    private enum CodingKeys: String, CodingKey {
        case module, host, epoch, frame, action, cause, restart
        case differsFrom = "differs_from"
    }

    public init(
        _ action: Action, module: String, host: String, epoch: UInt32, frame: UInt64, cause: String,
        restart: Int? = nil, differsFrom: UInt64? = nil
    ) {
        self.module = module
        self.host = host
        self.epoch = epoch
        self.frame = frame
        self.action = action
        self.cause = cause
        self.restart = restart
        self.differsFrom = differsFrom
    }

    /// Every key is there, null where it has no value.
    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(module, forKey: .module)
        try keys.encode(host, forKey: .host)
        try keys.encode(epoch, forKey: .epoch)
        try keys.encode(frame, forKey: .frame)
        try keys.encode(action, forKey: .action)
        try keys.encode(cause, forKey: .cause)
        try keys.encode(restart, forKey: .restart)
        try keys.encode(differsFrom, forKey: .differsFrom)
    }
}
