import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

/// What a module's process is started with: program, arguments and environment (docs/processes.md).
public struct LaunchSettings: Sendable {
    var simulationName: String
    var baseDirectory: ByteString
    /// Folder of the `hermes` Python package, and the shared libhermes, where known.
    var pythonPath: ByteString?
    var library: ByteString?
    /// Whether a module's own variables say where interpreters are, as they do at the desk. A node finds them itself.
    var configurationChoosesInterpreters: Bool
    private let inherited: [(name: ByteString, value: ByteString)]

    public init(
        simulationName: String, baseDirectory: ByteString, pythonPath: ByteString?, library: ByteString?,
        configurationChoosesInterpreters: Bool = true
    ) {
        self.simulationName = simulationName
        self.baseDirectory = baseDirectory
        self.pythonPath = pythonPath
        self.library = library
        self.configurationChoosesInterpreters = configurationChoosesInterpreters
        inherited = Self.processEnvironment()
    }

    func launch(
        of module: Module, realtime: RealtimeWish?, commandPath: String, replyPath: String
    ) throws -> ModuleLaunch {
        let own = Dictionary(inherited.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        var variables = own
        for (name, value) in module.environment { variables[ByteString(name)] = ByteString(value) }
        variables["HERMES_MODULE"] = ByteString(module.name)
        variables["HERMES_SHM"] = ByteString(RunFolder.segmentName(of: simulationName))
        variables["HERMES_CONFIG"] = module.configuration
        variables["HERMES_REALTIME"] = (realtime?.variable).map { ByteString($0) }
        variables["HERMES_COMMAND_FIFO"] = ByteString(commandPath)
        variables["HERMES_REPLY_FIFO"] = ByteString(replyPath)
        if let library { variables["HERMES_LIBRARY"] = library }
        if let pythonPath {
            let before = variables["PYTHONPATH"] ?? ""
            variables["PYTHONPATH"] = before.isEmpty ? pythonPath : "\(pythonPath):\(before)"
        }
        var arguments = [module.program] + module.arguments.map { ByteString($0) }
        if module.kind == .script && Self.isPython(module.program) {
            arguments =
                [try Self.python(configurationChoosesInterpreters ? variables : own, for: module), "-m", "hermes"]
                + arguments
            // A module's prints appear as they are made, not when the run is over.
            variables["PYTHONUNBUFFERED"] = variables["PYTHONUNBUFFERED"] ?? "1"
        }
        return ModuleLaunch(
            arguments: arguments, environment: variables.map { "\($0.key)=\($0.value)" as ByteString }.sorted(),
            directory: module.workingDirectory ?? baseDirectory)
    }

    static func isPython(_ program: ByteString) -> Bool { program.hasSuffix(".py") }

    /// The interpreter as an absolute path: HERMES_PYTHON or the first python3 of PATH.
    private static func python(_ variables: [ByteString: ByteString], for module: Module) throws -> ByteString {
        let wanted = variables["HERMES_PYTHON"].flatMap { $0.isEmpty ? nil : $0 } ?? "python3"
        if wanted.contains(UInt8(ascii: "/")) { return wanted }
        // One that is not absolute would be looked for in the folder of the module.
        for folder in (variables["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(at: UInt8(ascii: ":"))
        where folder.isAbsolutePath {
            let path = folder.appendingPath(wanted)
            if access(path.cString, X_OK) == 0 { return path }
        }
        throw RunFailure(
            .launch, module: module.name,
            cause: "there is no \(wanted) on PATH to run the script with; install python3 or set HERMES_PYTHON")
    }

    /// What systemd tells a service is for that process alone: no module speaks for the node.
    private static let serviceVariables: Set<ByteString> = [
        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
    ]

    private static func processEnvironment() -> [(name: ByteString, value: ByteString)] {
        ByteString.strings(environ).compactMap { entry in
            guard let (name, value) = entry.divided(at: UInt8(ascii: "=")), !name.isEmpty,
                !serviceVariables.contains(name)
            else { return nil }
            return (name, value)
        }
    }
}
