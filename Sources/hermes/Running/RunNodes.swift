import CKeeper
import Glibc
import HermesCoordinator
import HermesModel
import HermesNode
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming
import HermesTransport

/// The nodes of a run: one in this process and, where modules are placed on named hosts, theirs.
struct RunNodes {
    let desk: EmbeddedNode
    /// What a coordinator drives.
    let session: any NodeSession
    let folder: RunFolder

    /// How this side meets other hosts.
    struct Meeting: Sendable {
        /// The coordinator's secret key.
        var keyFile: ByteString?
        /// Seconds to wait for nodes that are not there yet.
        var graceSeconds = 10.0
        /// Frames to grant hosts at once; nil: as many as suits.
        var grant: UInt64?
        /// Takes note of messages for a timeline, which all hosts keep then.
        var trace: TraceRing?
        /// Told what each host is, as it is met.
        var welcomed: @Sendable (_ host: String, _ welcome: Welcome) -> Void = { _, _ in }
    }

    /// - Parameters:
    ///   - keeper: forked before this process had threads; the desk's node ends it.
    ///   - observers: asked which signals they need.
    /// - Throws: `RunFailure` when the simulation's name is taken or the key can't be read.
    init(
        _ simulation: Simulation, keeper processKeeper: keeper, meeting: Meeting, observers: [any FrameObserver],
        console: Console
    ) throws {
        var processKeeper = processKeeper
        let keys: CurveKeys?, alarm: Alarm
        do {
            alarm = try Alarm()
            keys = try meeting.keyFile.map { try CurveKeys.load(secretFile: $0) }
            folder = try RunFolder(name: simulation.name)
        } catch {
            keeper_finish(&processKeeper)
            throw (error as? TransportError).map { RunFailure(.refused, cause: $0.description) } ?? error
        }
        var own = simulation
        own.modules.removeAll { $0.host != nil }
        desk = EmbeddedNode(
            own, settings: Installation.here.launchSettings(for: simulation),
            realtime: RealtimeOrder(simulation, host: nil), folder: folder, keeper: processKeeper,
            alarm: alarm,
            reporter: EmbeddedNode.Reporter(
                moduleLine: { console.moduleLine($0, $1) }, warning: { console.warning($0) }))
        desk.traces = meeting.trace != nil
        if simulation.isAtDesk {
            session = desk
            return
        }
        let asked = UncheckedObservers(observers: observers)
        var settings = Fleet.Settings(
            keys: keys, graceSeconds: meeting.graceSeconds, livenessSeconds: simulation.execution.livenessSeconds,
            grant: meeting.grant,
            collects: { plan in Array(Set(asked.observers.flatMap { $0.signals(of: plan) })).sorted() },
            moduleLine: { console.moduleLine("\($0)/\($1)", $2) }, warning: { console.warning($0) },
            note: { console.note($0) })
        settings.welcomed = meeting.welcomed
        settings.trace = meeting.trace
        do {
            session = try Fleet(simulation, desk: desk, alarm: alarm, settings: settings)
        } catch {
            desk.terminate(hurried: true)
            desk.remove()
            throw RunFailure(.resource, cause: "\(error)")
        }
    }
}

/// Observers are asked on the thread that runs the frames, where they belong.
private struct UncheckedObservers: @unchecked Sendable {
    let observers: [any FrameObserver]
}
