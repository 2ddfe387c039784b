import HermesModel
import HermesPlan
import HermesProtocol
import HermesTransport

// The modules of this host: started, given their share of the plan, and what they do when one fails.

extension RunService {
    func launch(_ wanted: LaunchModules) throws -> [Announcement] {
        let simulation = try LaunchOrder.simulation(
            wanted, named: folder.name, root: ModuleRoot(order.root), allowsInproc: order.allowsInproc,
            variables: ConfiguredVariables(allowed: order.allowedVariables))
        let run = order.open.run, channel = channel, lines = lines, host = order.open.host
        let node = EmbeddedNode(
            simulation, hostName: host,
            settings: LaunchSettings(
                simulationName: folder.name, baseDirectory: order.root, pythonPath: order.pythonPath,
                library: order.library, configurationChoosesInterpreters: false),
            realtime: try LaunchOrder.realtime(wanted), folder: folder, keeper: processKeeper, alarm: alarm,
            reporter: EmbeddedNode.Reporter(
                moduleLine: { lines.say($0, $1) },
                warning: { channel.say("line", SaidLine(run: run, module: nil, text: $0)) },
                stuck: { failure in
                    channel.say("stuck", failure)
                    EmbeddedNode.endProcess(failure)
                },
                fired: { [unowned self] in tell($0) }))
        self.node = node
        shared.withLock { $0 = UncheckedNode(node: node) }
        return try node.launch()
    }

    /// On the thread that runs the frames, so that it comes before the done of its frame; and to the node's log.
    private func tell(_ error: ModuleError) {
        channel.say("fired", error)
        if let message = try? ControlMessage("fired", error) { try? link.send(message, to: Self.coordinator) }
    }

    func prepare(_ message: ShareMessage) throws {
        let share: HostShare
        do {
            share = try message.share(of: order.open.index, among: order.open.participants)
        } catch {
            throw RunFailure(
                .protocolError, cause: "was given a share of the plan that does not fit together: \(error)")
        }
        guard node!.fits(share.plan) else {
            throw RunFailure(.protocolError, cause: "was given a share of the plan for other modules than it launched")
        }
        collected = message.collected
        try reserveStreams(share)
        node!.traces = message.wantsTrace == true
        try node!.prepare(share, mirrors: streams ?? link, longestStepSeconds: message.longestStepSeconds)
    }

    private func reserveStreams(_ share: HostShare) throws {
        do throws(LinkFault) {
            try streams?.reserve(share)
        } catch {
            throw RunFailure(.protocolError, cause: "was given mirrors that no stream leads to")
        }
    }
}
