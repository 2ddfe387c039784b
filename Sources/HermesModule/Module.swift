import CHermes

/// A simulation module: a class with a `step(dt:)`.
///
///     @main
///     final class Thruster: Module {
///         @Input(unit: "N") var command = 0.0
///         @Output(unit: "N", summary: "after the lag") var thrust = 0.0
///
///         init() {}
///
///         func step(dt: Double) {
///             thrust += (command - thrust) * dt / 0.1
///         }
///     }
///
/// Signals are the properties marked `@Input`, `@Output` and `@Signal`, in the order of their declaration; signals that
/// depend on the configuration are listed in ``moreSignals``. An error thrown by any method ends the run and its description
/// stands in the report.
public protocol Module: AnyObject {
    /// Makes the module; ``Simulation/configurationPath`` may be asked already.
    init() throws
    /// `configuration`: path of the module's `config:` file.
    func start(configuration: String?) throws
    func stage() throws
    /// `dt`: seconds of simulation time this step covers.
    func step(dt: Double) throws
    /// Back to the start. The signals already have their declared defaults again.
    func reset() throws
    /// Called once at the end, also when the run breaks off: leave hardware in a safe state. An error says that it could
    /// not be reached; the run has then failed.
    func terminate() throws
    /// Called from another thread in place of `terminate` when the module hangs in one of the other methods.
    static func safeState() throws
    /// Signals made in `init`, beside those that are properties; each needs a name.
    var moreSignals: [AnySignal] { get }
}

extension Module {
    public func start(configuration: String?) throws {}
    public func stage() throws {}
    public func reset() throws {}
    public func terminate() {}
    public static func safeState() {}
    public var moreSignals: [AnySignal] { [] }

    /// Runs this process as the module, until the simulation ends; for `@main`.
    public static func main() {
        ModuleProcess.run(Self.self)
    }
}

/// A module whose state can be saved, for checkpoints and restarts.
public protocol StatefulModule: Module {
    /// Bytes that `load` understands.
    func save() throws -> [UInt8]
    func load(_ state: [UInt8]) throws
}

/// Throw this to end the run with a status of your own; any other error means status 1.
public struct ModuleFailure: Error, CustomStringConvertible {
    public var status: Int32
    public var description: String

    public init(status: Int32 = 1, _ description: String) {
        self.status = status == 0 ? 1 : status
        self.description = description
    }
}

/// What a module can ask about its simulation.
public enum Simulation {
    /// The module's name in the configuration; "" outside a simulation.
    public static var moduleName: String { String(cString: hermes_module_name()) }
    /// The module's `config:` file; nil without one. A `String` can't say every path: see `configurationPathBytes`.
    public static var configurationPath: String? { hermes_config_path().map { String(cString: $0) } }
    /// The same as the system has it, whether or not it is UTF-8, with the NUL behind it: `open(bytes, O_RDONLY)`.
    public static var configurationPathBytes: [CChar]? {
        hermes_config_path().map { Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1)) }
    }
    /// The frame being stepped: n while `step` computes frame n, 0 before the first.
    public static var frame: UInt64 { hermes_frame() }
    /// Simulation time in seconds at the end of that frame, n / rate.
    public static var time: Double { hermes_time() }
}
