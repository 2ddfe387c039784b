import FoundationEssentials
import Glibc
import HermesCoordinator
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import Synchronization

/// One line of a client, read as far as that is quickly done.
struct ControlLine: Sendable {
    /// Bytes of a line that is read in the time of the other clients.
    private static let short = 4096

    let text: Data
    /// Nil for a long line, and for one that is no request.
    let request: ControlRequest?

    init(_ text: Data) {
        self.text = text
        request = text.count > Self.short ? nil : try? JSONDecoder().decode(ControlRequest.self, from: text)
    }

    /// Reading or answering it takes a while.
    var isLong: Bool { text.count > Self.short || request?.command == .signals }
    var isStop: Bool { request?.command == .stop }
    /// What works also when all places are taken.
    var isForAll: Bool { isStop || request?.command == .status }
}

/// What clients' requests mean to a run. Any thread may ask; an answer comes once, from whatever thread has it.
final class ControlDesk: Sendable {
    typealias Reply = @Sendable (ControlAnswer) -> Void

    private let coordinator: Coordinator
    private let lastFrame: UInt64?
    private let worker: ControlWorker
    /// The answer to `signals`, which is always the same.
    private let signals = Mutex<[UInt8]?>(nil)

    init(_ coordinator: Coordinator, lastFrame: UInt64?, worker: ControlWorker) {
        self.coordinator = coordinator
        self.lastFrame = lastFrame
        self.worker = worker
    }

    func answer(_ line: ControlLine, _ reply: @escaping Reply) {
        guard line.isLong else { return answer(line.request, reply) }
        worker.post { [self] in
            answer(line.request ?? (try? JSONDecoder().decode(ControlRequest.self, from: line.text)), reply)
        }
    }

    private func answer(_ request: ControlRequest?, _ reply: @escaping Reply) {
        guard let request else { return reply(.refused("that is no request this version knows")) }
        if request.command == .status { return reply(.reply(ControlReply(status: status))) }
        guard coordinator.progress.hasStaged || request.command == .stop else {
            return reply(
                .refused("the simulation '\(coordinator.simulation.name)' is still staging; try again in a moment"))
        }
        switch request.command {
        case .signals: return reply(.line(signalsLine))
        case .sample: return coordinator.sample(request.slots ?? []) { reply(Self.answer($0, $1, isSample: true)) }
        case .write: return write(request, reply)
        default: break
        }
        guard let command = command(of: request) else {
            return reply(.refused("the request lacks its count or mode"))
        }
        if command == .stop && !coordinator.progress.hasStaged { coordinator.abandon() }
        coordinator.mailbox.post(command) { result in
            switch result {
            case .success(let frame): reply(.reply(ControlReply(frame: frame)))
            case .failure(let refusal): reply(.refused(refusal.description))
            }
        }
    }

    private func command(of request: ControlRequest) -> RunCommand? {
        switch request.command {
        case .pause: .pause
        case .resume: .resume
        case .reset: .reset
        case .stop: .stop
        case .step: .step(count: request.count ?? 1)
        case .mode: request.mode.map { .setMode($0) }
        case .status, .signals, .sample, .write: nil
        }
    }

    private static func answer(
        _ frame: UInt64, _ result: Result<ValueOrder, RunFailure>?, isSample: Bool
    ) -> ControlAnswer {
        switch result {
        case .success(let order): isSample ? .values(order, frame: frame) : .reply(ControlReply(frame: frame))
        case .failure(let failure): .refused(failure.description)
        case nil: .refused("the simulation has ended")
        }
    }

    private func write(_ request: ControlRequest, _ reply: @escaping Reply) {
        guard let plan = coordinator.plan, let slots = request.slots, let bits = request.bits, slots.count == bits.count
        else { return reply(.refused("the request lacks its values")) }
        for slot in slots {
            guard plan.registry.signals.indices.contains(slot) else {
                return reply(.refused("there is no such signal"))
            }
            let signal = plan.registry.signals[slot]
            if signal.isWired { return reply(.refused("'\(signal.name)' can't be set: a wire drives it")) }
            guard signal.isWritable else {
                return reply(
                    .refused(
                        "'\(signal.name)' can't be set: it is read-only (list it under signals: with writable: true)"))
            }
        }
        coordinator.write(slots, bits) { reply(Self.answer($0, $1, isSample: false)) }
    }

    private var signalsLine: [UInt8] {
        signals.withLock { line in
            if let line { return line }
            let listings = coordinator.plan?.registry.signals.map { SignalListing($0) }
            let made = ControlAnswer.reply(ControlReply(signals: listings)).line
            line = made
            return made
        }
    }

    private var status: RunStatus {
        let progress = coordinator.progress
        let rate = coordinator.simulation.execution.rateHz
        return RunStatus(
            name: coordinator.simulation.name,
            state: !progress.hasStaged ? "staging" : progress.isPaused ? "paused" : "running",
            mode: progress.mode.rawValue, frame: progress.frame, epoch: progress.epoch,
            time: Double(progress.frame) / rate, rateHz: rate, frames: lastFrame, pid: getpid(),
            hosts: Set(coordinator.simulation.modules.map(\.host) + [nil]).count,
            modules: modules)
    }

    private var modules: [RunStatus.Module] {
        let errors = Dictionary(grouping: coordinator.moduleErrors, by: \.module.bytes)
        return coordinator.moduleStates.map { name, state in
            let own = errors[name.bytes] ?? []
            return RunStatus.Module(
                name: name, state: state.rawValue, restarts: own.count { $0.action == .restarted }, lastError: own.last)
        }
    }
}
