import Glibc
import HermesModel
import HermesNode
import HermesPlan
import HermesProtocol

/// What the modules of a configuration announce, learnt by starting them and ending them again.
struct AnnouncedSignals {
    var signals: [SignalListing]
    /// What is wrong between configuration and announcements.
    var error: ConfigurationError?

    /// - Throws: `RunFailure` when a module can't be started or announces nothing valid.
    static func read(
        _ simulation: Simulation, meeting: RunNodes.Meeting, _ console: Console
    ) throws -> AnnouncedSignals {
        var simulation = simulation
        // A name of its own: the simulation itself may be running.
        simulation.name = "announce-\(getpid())"
        let nodes = try RunNodes(
            simulation, keeper: startKeeper(), meeting: meeting, observers: [], console: console)
        let announcements = Result { try nodes.session.launch() }
        nodes.session.terminate(hurried: false)
        nodes.session.remove()
        return try plan(simulation, announcements.get(), console)
    }

    private static func plan(
        _ simulation: Simulation, _ announcements: [Announcement], _ console: Console
    ) throws -> AnnouncedSignals {
        do {
            let (plan, warnings) = try Planner.plan(simulation, announcements: announcements)
            for warning in warnings { console.diagnostic(warning) }
            return AnnouncedSignals(signals: plan.registry.signals.map { SignalListing($0) })
        } catch let error as ConfigurationError {
            var bare = simulation
            bare.wires = []
            for index in bare.modules.indices { bare.modules[index].signals = [] }
            let plan = try Planner.plan(bare, announcements: announcements).plan
            return AnnouncedSignals(signals: plan.registry.signals.map { SignalListing($0) }, error: error)
        }
    }
}
