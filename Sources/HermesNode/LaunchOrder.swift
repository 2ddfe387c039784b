import HermesModel
import HermesProtocol

/// What a coordinator wants started on a host, checked against what the host allows.
enum LaunchOrder {
    /// What is asked of threads, one wish for each module.
    static func realtime(_ wanted: LaunchModules) throws -> RealtimeOrder? {
        guard let order = wanted.realtime else { return nil }
        guard order.modules.count == wanted.modules.count, order.frames.isSound,
            order.modules.allSatisfy(\.isSound)
        else {
            throw RunFailure(
                .protocolError,
                cause: "was asked for a priority or CPUs that no host has, or of other modules than it is to launch")
        }
        return order
    }

    /// - Throws: `RunFailure` naming the module and what is not allowed or not there.
    static func simulation(
        _ wanted: LaunchModules, named name: String, root: ModuleRoot, allowsInproc: Bool,
        variables: ConfiguredVariables
    ) throws -> Simulation {
        var simulation = Simulation(name: name, baseDirectory: root.path)
        if let limit = wanted.restartLimit { simulation.execution.restartLimit = limit }
        let nowhere = SourceLocation(file: "", line: 0, column: 0)
        for item in wanted.modules {
            guard let kind = Module.Kind(rawValue: item.kind), item.environment.count % 2 == 0 else {
                throw RunFailure(.protocolError, module: item.name, cause: "is of no known type")
            }
            // The system would take what stands before it.
            guard !item.holdsNUL else {
                throw RunFailure(.protocolError, module: item.name, cause: "has a NUL character in what starts it")
            }
            guard let onError = ErrorPolicy(rawValue: item.onError ?? ErrorPolicy.stop.rawValue),
                kind != .inproc || onError != .restart
            else {
                throw RunFailure(
                    .protocolError, module: item.name, cause: "can't have `on_module_error: \(item.onError ?? "")`")
            }
            if kind == .inproc && !allowsInproc {
                throw RunFailure(
                    .refused, module: item.name,
                    cause: "`type: inproc` needs a hermes-node started with --allow-inproc, for it runs inside the node"
                )
            }
            let environment = stride(from: 0, to: item.environment.count, by: 2).map {
                (name: item.environment[$0], value: item.environment[$0 + 1])
            }
            if let refusal = environment.lazy.compactMap({ variables.refusal($0.name, $0.value) }).first {
                throw RunFailure(.refused, module: item.name, cause: refusal)
            }
            simulation.modules.append(
                Module(
                    name: item.name, kind: kind, program: try root.resolve(item.program, of: item.name),
                    arguments: item.arguments, environment: environment,
                    workingDirectory: try item.workingDirectory.map { try root.resolve($0, of: item.name) },
                    configuration: try item.configuration.map { try root.resolve($0, of: item.name) },
                    startTimeoutSeconds: item.startTimeoutSeconds, stepTimeoutSeconds: item.stepTimeoutSeconds,
                    onError: onError, location: nowhere))
        }
        return simulation
    }
}

extension LaunchModules.Item {
    /// In a path, an argument or a variable, where a text ends for the system.
    fileprivate var holdsNUL: Bool {
        let texts = [name] + arguments + environment
        let paths = [program] + [workingDirectory, configuration].compactMap { $0 }
        return texts.contains { $0.utf8.contains(0) } || paths.contains { $0.contains(0) }
    }
}
