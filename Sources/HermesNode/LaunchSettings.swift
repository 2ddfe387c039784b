import Glibc
import HermesModel
import HermesProtocol

/// What a module's process is started with: program, arguments and environment (docs/processes.md).
public struct LaunchSettings: Sendable {
    var simulationName: String
    var baseDirectory: String
    /// Folder of the `hermes` Python package, and the shared libhermes, where known.
    var pythonPath: String?
    var library: String?
    /// HERMES_PYTHON, else python3 on PATH.
    private let inherited: [(name: String, value: String)]

    public init(simulationName: String, baseDirectory: String, pythonPath: String?, library: String?) {
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
        for (name, value) in module.environment { variables[name] = value }
        variables["HERMES_MODULE"] = module.name
        variables["HERMES_SHM"] = RunFolder.segmentName(of: simulationName)
        variables["HERMES_CONFIG"] = module.configuration
        variables["HERMES_REALTIME"] = realtime?.variable
        variables["HERMES_COMMAND_FIFO"] = commandPath
        variables["HERMES_REPLY_FIFO"] = replyPath
        if let library { variables["HERMES_LIBRARY"] = library }
        if let pythonPath {
            let before = variables["PYTHONPATH"].flatMap { $0.isEmpty ? nil : ":\($0)" } ?? ""
            variables["PYTHONPATH"] = pythonPath + before
        }
        var arguments = [module.program] + module.arguments
        if module.kind == .script && Self.isPython(module.program) {
            arguments = [try Self.python(variables, for: module), "-m", "hermes"] + arguments
            // A module's prints appear as they are made, not when the run is over.
            variables["PYTHONUNBUFFERED"] = variables["PYTHONUNBUFFERED"] ?? "1"
        }
        return ModuleLaunch(
            arguments: arguments, environment: variables.map { "\($0.key)=\($0.value)" }.sorted(),
            directory: module.workingDirectory ?? baseDirectory)
    }

    static func isPython(_ program: String) -> Bool { program.hasSuffix(".py") }

    /// The interpreter as an absolute path: HERMES_PYTHON or the first python3 of PATH.
    private static func python(_ variables: [String: String], for module: Module) throws -> String {
        let wanted = variables["HERMES_PYTHON"].flatMap { $0.isEmpty ? nil : $0 } ?? "python3"
        if wanted.contains("/") { return wanted }
        for folder in (variables["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
            let path = "\(folder)/\(wanted)"
            if access(path, X_OK) == 0 { return path }
        }
        throw RunFailure(
            .launch, module: module.name,
            cause: "there is no \(wanted) on PATH to run the script with; install python3 or set HERMES_PYTHON")
    }

    private static func processEnvironment() -> [(name: String, value: String)] {
        var variables: [(String, String)] = []
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "="), equals != text.startIndex {
                variables.append((String(text[..<equals]), String(text[text.index(after: equals)...])))
            }
            next += 1
        }
        return variables
    }
}
