import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

// What coordinators ask of a node.

extension NodeAgent {
    /// Runs at a time where no ports set the limit.
    private static let mostBesideSocket = 99

    func answer(_ message: ControlMessage, _ caller: NodeListener.Caller) {
        do {
            switch message.say {
            case "hello": try welcome(message, caller)
            case "ping":
                let pong = Pong(
                    clockNanoseconds: ThisMachine.clockNanoseconds, monotonicNanoseconds: monotonicNow())
                outbox.send(try ControlMessage("pong", id: message.id, pong), to: caller)
            case let question where Errands.questions.contains(question):
                try errands.add(message, from: caller)
            case "open": try open(message, caller)
            case "end":
                let body: EndRun = try message.read()
                let known = runs.indices.filter { runs[$0].id == body.run }
                for index in known { end(index, cause: body.cause) }
                // One that was refused or is over: the coordinator need not wait for it.
                if known.isEmpty { outbox.tell("gone", GoneRun(run: body.run, cause: nil), to: caller) }
            default:
                throw Refused("this node, version \(settings.version), does not know '\(message.say)'; upgrade it")
            }
        } catch {
            guard message.id != 0 else { return }
            let refused = error as? Refused ?? Refused("\(error)")
            if let reply = try? ControlMessage("refused", id: message.id, refused) { outbox.send(reply, to: caller) }
        }
    }

    private func welcome(_ message: ControlMessage, _ caller: NodeListener.Caller) throws {
        let hello: Hello = try message.read()
        let welcome = Welcome(
            version: settings.version, protocolVersion: protocolVersion, oldestProtocol: oldestProtocolVersion,
            clockNanoseconds: ThisMachine.clockNanoseconds, cores: ThisMachine.cores, memory: ThisMachine.memory,
            machine: ThisMachine.machine, running: runs.map(\.name))
        if hello.protocolVersion < oldestProtocolVersion, oldCoordinators.add() {
            log.warning(
                "a coordinator of version \(hello.version) is too old for this node; upgrade it\(oldCoordinators.times)"
            )
        }
        outbox.send(try ControlMessage("welcome", id: message.id, welcome), to: caller)
    }

    private func open(_ message: ControlMessage, _ caller: NodeListener.Caller) throws {
        // One that was killed right behind its question: its run would be no one's.
        guard listener.isThere(caller) else { return }
        let open: OpenRun = try message.read()
        guard open.security.isSound(participants: open.participants) else {
            throw Refused(
                "the message 'open' can't be: 'security' has keys that are none, or not those of all participants")
        }
        // Behind a dead one a living one may wait for the name.
        reap()
        if runs.contains(where: { $0.name == open.simulation && !$0.isEnding }) {  // ASCII
            throw Refused(
                "a simulation named '\(open.simulation)' already runs there; end it where it was started, or start this one "
                    + "under another --name")
        }
        let isBesideSocket = settings.endpoint.hasPrefix("ipc://")
        guard runs.count < (isBesideSocket ? Self.mostBesideSocket : settings.ports.count) else {
            throw Refused(
                isBesideSocket
                    ? "\(runs.count) simulations run there, and no more may"
                    : "every port from \(settings.ports.lowerBound) to \(settings.ports.upperBound) is taken; widen --ports"
            )
        }
        let process = try WorkerProcess()
        process.channel.say(
            "work",
            WorkerOrder(
                open: open, root: root.path, addresses: addresses(open), firstPort: settings.ports.lowerBound,
                lastPort: settings.ports.upperBound, path: path(open), allowsInproc: settings.allowsInproc,
                allowedVariables: settings.allowedVariables, pythonPath: settings.pythonPath, library: settings.library,
                nameSeconds: isClearing(open.simulation) ? Self.nameSeconds : nil))
        runs.append(
            Run(
                process: process, name: open.simulation, id: open.run, owner: caller, host: open.host,
                question: message.id))
        notifier.tell("STATUS=\(status)")
    }

    /// A run of that name ends here, or what it left is cleared up.
    private func isClearing(_ name: String) -> Bool {
        runs.contains { $0.name == name } || keepers.contains { $0.runName == name }  // ASCII
    }
    /// Seconds that takes at most, the kill ladders of the run's process and of its keeper included.
    private static let nameSeconds = 12.0

    private func addresses(_ open: OpenRun) -> [String] {
        guard let own = settings.endpoint.text.flatMap({ TCPEndpoint($0) })?.host else { return [] }
        let isEverywhere = own == "*" || own == "0.0.0.0" || own == "[::]"
        guard let mirror = open.mirrorAddress.flatMap({ TCPEndpoint($0)?.host }), !isEverywhere, mirror != own else {
            return [own]
        }
        return [own, mirror]
    }

    private func path(_ open: OpenRun) -> ByteString? {
        guard settings.endpoint.hasPrefix("ipc://") else { return nil }
        return "\(settings.endpoint.dropFirst(6)).\(String(open.run, radix: 36))"
    }
}
