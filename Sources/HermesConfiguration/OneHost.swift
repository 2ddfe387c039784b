import Glibc
import HermesModel
import HermesSystem

/// A module of a named host that can't run at the desk.
public struct Immovable: Sendable {
    public var module: String
    public var host: String
    /// What it lacks here.
    public var reason: String

    public init(module: String, host: String, reason: String) {
        self.module = module
        self.host = host
        self.reason = reason
    }
}

extension Simulation {
    /// The same with every module at the desk. What named hosts look for beneath their module roots is taken from the
    /// configuration's folder instead; `immovable` are those modules that don't have everything there.
    public func onOneHost() -> (simulation: Simulation, immovable: [Immovable]) {
        var moved = self
        let paths = DeskPaths(baseDirectory: baseDirectory)
        var immovable: [Immovable] = []
        for index in modules.indices {
            guard let host = modules[index].host else { continue }
            let module = modules[index]
            moved.modules[index].host = nil
            moved.modules[index].program = paths.absolute(module.program)
            moved.modules[index].configuration = module.configuration.map(paths.absolute)
            moved.modules[index].workingDirectory = module.workingDirectory.map(paths.absolute)
            if let reason = lack(of: moved.modules[index], as: module) {
                immovable.append(Immovable(module: module.name, host: host, reason: reason))
            }
        }
        return (moved, immovable)
    }

    /// - Parameter written: the module with its paths as in the configuration.
    private func lack(of module: Module, as written: Module) -> String? {
        let files: [(path: ByteString?, name: ByteString?, wanted: FileKind, mode: Int32)] = [
            (
                module.program, written.program, .regular,
                FileCheck.isStarted(module.program, module.kind) ? X_OK : R_OK
            ),
            (module.configuration, written.configuration, .regular, R_OK),
            (module.workingDirectory, written.workingDirectory, .directory, X_OK),
        ]
        for case (let path?, let name?, let wanted, let mode) in files {
            let kind = FileKind(path: path)
            if kind == .missing { return "there is no \(name) here" }
            if kind != wanted { return "\(name) is \(kind.noun) here" }
            if access(path.cString, mode) != 0 { return "\(name) can't be \(mode == X_OK ? "executed" : "read") here" }
        }
        return nil
    }
}
