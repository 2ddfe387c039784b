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
    /// HERMES_PYTHON, else python3 on PATH.
    private let inherited: [(name: ByteString, value: ByteString)]

    public init(simulationName: String, baseDirectory: ByteString, pythonPath: ByteString?, library: ByteString?) {
        self.simulationName = simulationName
        self.baseDirectory = baseDirectory
        self.pythonPath = pythonPath
        self.library = library
        inherited = Self.processEnvironment()
    }

    func launch(
        of module: Module, realtime: RealtimeWish?, commandPath: String, replyPath: String
    ) throws -> ModuleLaunch {
        var variables = Dictionary(inherited.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
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
            arguments = [try Self.python(variables, for: module), "-m", "hermes"] + arguments
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
        for folder in (variables["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(at: UInt8(ascii: ":")) {
            let path = folder.appendingPath(wanted)
            if access(path.cString, X_OK) == 0 { return path }
        }
        throw RunFailure(
            .launch, module: module.name,
            cause: "there is no \(wanted) on PATH to run the script with; install python3 or set HERMES_PYTHON")
    }

    private static func processEnvironment() -> [(name: ByteString, value: ByteString)] {
        ByteString.strings(environ).compactMap { entry in
            guard let (name, value) = entry.divided(at: UInt8(ascii: "=")), !name.isEmpty else { return nil }
            return (name, value)
        }
    }
}
