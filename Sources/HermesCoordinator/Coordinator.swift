import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming
import Synchronization

/// Runs one simulation from launch to finish.
public final class Coordinator: @unchecked Sendable {
    public struct Options: Sendable {
        /// `--set`: signal and text, applied over the modules' own defaults.
        public var overrides: [(signal: String, text: String)]
        /// Frames of an epoch; nil: until stopped.
        public var lastFrame: UInt64?
        /// `profile` in the summary.
        public var wantsProfile = false
        /// For a timeline; the same that the nodes' messages are noted in.
        public var trace: TraceRing?
        /// Shown the timeline around each of the first few overruns, as far as the desk knows it, on the thread that runs
        /// the frames: to be quick about it.
        public var onOverrun: @Sendable (RunTrace) -> Void = { _ in }

        public init(overrides: [(signal: String, text: String)] = [], lastFrame: UInt64? = nil) {
            self.overrides = overrides
            self.lastFrame = lastFrame
        }
    }

    public let simulation: Simulation
    public let progress = RunProgress()
    private let feed: FrameFeed
    public let mailbox: CommandMailbox
    private let visits = EdgeVisits()
    private let node: any NodeSession
    private let options: Options
    private let observers: [any FrameObserver]
    private let warn: @Sendable (Diagnostic) -> Void
    private let keptTime: @Sendable (RealtimeReport) -> Void
    private var report = RealtimeReport()
    private let startedAt = monotonicNow()
    private let planned = Mutex<Plan?>(nil)
    private let traced = Mutex<RunTrace?>(nil)
    /// Timelines around overruns that were shown, and how many events there were then.
    private var overrunsShown = 0
    private var eventsShown: UInt64 = 0
    private static let mostOverrunsShown = 3
    private let interrupted = Atomic<Bool>(false)
    private let abandoned = Atomic<Bool>(false)

    /// - Parameters:
    ///   - observers: shown every completed frame, in this order.
    ///   - warn: told what is odd about the wiring but no error.
    ///   - keptTime: told before the first frame what threads and memory are like in a realtime run.
    public init(
        _ simulation: Simulation, node: any NodeSession, options: Options, observers: [any FrameObserver],
        warn: @escaping @Sendable (Diagnostic) -> Void,
        keptTime: @escaping @Sendable (RealtimeReport) -> Void = { _ in }
    ) {
        self.simulation = simulation
        feed = FrameFeed(progress: progress, rateHz: simulation.execution.rateHz)
        self.node = node
        self.options = options
        self.observers = observers
        self.warn = warn
        self.keptTime = keptTime
        let node = UncheckedReference(node)
        mailbox = CommandMailbox(onPost: { node.value.raiseAttention() })
        progress.mode = simulation.execution.mode
    }

    /// The plan, once every module has announced.
    public var plan: Plan? { planned.withLock { $0 } }
    public var moduleStates: [(name: String, state: ModuleState)] { node.moduleStates }
    /// The timeline, where one was wanted; once the run is over.
    public var trace: RunTrace? { traced.withLock { $0 } }
    /// What `on_module_error` has done so far.
    public var moduleErrors: [ModuleError] { node.moduleErrors }

    /// What became of a sample or a write at the edge behind a frame; nil when the run is over. It comes once, from the thread
    /// that runs the frames, which it is not to hold up: take it and go.
    public typealias ValueReply = @Sendable (_ frame: UInt64, Result<ValueOrder, RunFailure>?) -> Void

    /// Values of one frame, by index in the registry; once staged.
    public func sample(_ signals: [Int], reply: @escaping ValueReply) {
        guard let order = order(signals, writing: nil, reply) else { return }
        visit(order, reply) { node, frame in
            try node.sample(order) { failure in reply(frame, failure.map { .failure($0) } ?? .success(order)) }
        }
    }

    /// Values that the next frame begins with, all together; once staged.
    public func write(_ signals: [Int], _ bits: [UInt64], reply: @escaping ValueReply) {
        guard let order = order(signals, writing: bits, reply) else { return }
        visit(order, reply) { node, frame in
            try node.write(order)
            reply(frame, .success(order))
        }
    }

    /// Sorts them on the calling thread; nil, and said, when there is no such signal.
    private func order(_ signals: [Int], writing bits: [UInt64]?, _ reply: ValueReply) -> ValueOrder? {
        guard let plan else {
            reply(progress.frame, .failure(RunFailure(.refused, cause: "there is no such signal")))
            return nil
        }
        // Named more than once they could be as many as a message between hosts can't hold.
        guard signals.count <= plan.registry.signals.count else {
            reply(
                progress.frame,
                .failure(RunFailure(.refused, cause: "asks for more values than there are signals; name each once")))
            return nil
        }
        guard signals.allSatisfy(plan.registry.signals.indices.contains), bits == nil || bits?.count == signals.count
        else {
            reply(progress.frame, .failure(RunFailure(.refused, cause: "there is no such signal")))
            return nil
        }
        return node.order(signals, writing: bits)
    }

    private func visit(
        _ order: ValueOrder, _ reply: @escaping ValueReply,
        _ body: @escaping @Sendable (_ node: any NodeSession, _ frame: UInt64) throws -> Void
    ) {
        let isPosted = visits.post(values: order.signals.count) { node, frame in
            guard let node else { return reply(frame, nil) }
            do {
                try body(node, frame)
            } catch {
                reply(
                    frame, .failure(error as? RunFailure ?? RunFailure(.protocolError, cause: "\(error)")))
            }
        }
        if isPosted { node.raiseAttention() } else { reply(progress.frame, nil) }
    }

    /// Each frame that completes from now on, in order, until the run is over. Nothing a reader does holds up a frame: one
    /// that falls more than `buffering` frames behind loses the oldest. From any thread, any number of times.
    /// - Throws: `SystemError` when no thread is to be had that tells of them.
    public func frames(buffering: Int = 64) throws(SystemError) -> AsyncStream<CompletedFrame> {
        try feed.frames(buffering: buffering)
    }

    /// Ends the run as if by Ctrl-C: the frame under way is completed first. From any thread.
    public func interrupt() {
        interrupted.store(true, ordering: .relaxed)
        mailbox.post(.stop)
    }

    public var isInterrupted: Bool { interrupted.load(ordering: .relaxed) }

    /// Ends the run without waiting for the frame under way, for modules that have not answered or for a recording that
    /// nobody takes. It counts as stopped, or as interrupted after `interrupt`. From any thread.
    public func abandon() {
        abandoned.store(true, ordering: .relaxed)
        node.abandon()
        for observer in observers { observer.abandon() }
    }

    /// The whole run, on the calling thread, which should be its own.
    /// - Throws: `ConfigurationError` when the announced signals don't fit the configuration; everything else that can
    ///   go wrong is in the summary.
    public func run() throws -> RunSummary {
        defer { feed.end() }
        var scheduler: FrameScheduler?
        var outcome = RunOutcome.failed
        var failure: RunFailure?
        var configurationError: ConfigurationError?
        var firstStep: UInt64 = 0, lastDone: UInt64 = 0
        do {
            try feed.begin()
            scheduler = try start()
            firstStep = monotonicNow()
            defer { lastDone = monotonicNow() }
            outcome = try scheduler!.run()
        } catch let error as RunFailure {
            failure = error
        } catch let error as ConfigurationError {
            configurationError = error
        } catch let error as SystemError {
            failure = RunFailure(.resource, cause: "\(error)")
        } catch {
            failure = RunFailure(.protocolError, cause: "\(error)")
        }
        let frames = progress.frame
        // The modules first: what they drive is not left driven while a recording is written.
        node.terminate(hurried: failure != nil)
        let unsafeModules = node.unsafeModules
        let loss = finishObservers()
        let hostTimes = node.hostTimes
        if let trace = options.trace { traced.withLock { $0 = timeline(trace) } }
        node.remove()
        let isOnlyRefused = [failure, loss].allSatisfy { $0 == nil || $0?.code == .refused }
        if let ending = endingFromOutside, isOnlyRefused, outcome == .stopped || failure != nil || loss != nil {
            (outcome, failure) = (ending, loss)
        } else if let loss {
            (outcome, failure) = (.failed, failure ?? loss)
        }
        if !unsafeModules.isEmpty { (outcome, failure) = (.failed, Self.joined(failure, unsafeModules)) }
        visits.close(frame: frames)
        mailbox.close(failure.map { "the simulation failed: \($0)" } ?? "the simulation has ended", frame: frames)
        if let configurationError { throw configurationError }
        return summary(
            outcome, failure, frames: frames, wall: Double(lastDone - firstStep) / 1e9,
            hostTimes: hostTimes, scheduler)
    }

    /// Modules that did not reach their safe state are named, whatever else a run ended by.
    private static func joined(_ failure: RunFailure?, _ unsafeModules: [RunFailure]) -> RunFailure {
        var rest = unsafeModules[...]
        var joined = failure ?? rest.removeFirst()
        for other in rest { joined.cause += "; \(other)" }
        return joined
    }

    private func profile(_ told: [HostTimes], _ scheduler: FrameScheduler?) -> RunProfile? {
        guard options.wantsProfile, let scheduler else { return nil }
        return RunProfile(told, scheduler.times)
    }

    /// The first of what they lost.
    private func finishObservers() -> RunFailure? {
        var loss: RunFailure?
        for observer in observers {
            do {
                try observer.finish()
            } catch {
                loss = loss ?? error as? RunFailure ?? RunFailure(.resource, cause: "\(error)")
            }
        }
        return loss
    }

    /// What a run is that ended because somebody asked; nil when nobody did.
    private var endingFromOutside: RunOutcome? {
        if interrupted.load(ordering: .relaxed) { return .interrupted }
        return abandoned.load(ordering: .relaxed) ? .stopped : nil
    }

    private func start() throws -> FrameScheduler {
        let announcements = try node.launch()
        try throwIfInterrupted()
        let (plan, warnings) = try Planner.plan(simulation, announcements: announcements)
        warnings.forEach(warn)
        let overrides = try resolveOverrides(plan)
        planned.withLock { $0 = plan }
        try node.prepare(plan)
        try throwIfInterrupted()
        try node.stage(overrides: overrides)
        for observer in observers {
            try observer.begin(plan, epoch: 0, isRealtime: simulation.execution.mode == .realtime)
        }
        // Not earlier: threads that observers start would have this one's CPUs.
        try keepTime()
        let state = RunState(mode: simulation.execution.mode, lastFrame: options.lastFrame)
        node.show(state.isPaused ? .paused : .running)
        progress.isPaused = state.isPaused
        progress.stagedNanoseconds = monotonicNow()
        return FrameScheduler(
            node: node, observers: observers, mailbox: mailbox, visits: visits, progress: progress, plan: plan,
            realtime: simulation.execution.realtime, state: state, trace: options.trace,
            onOverrun: { [unowned self] _ in showOverrun() })
    }

    private func keepTime() throws {
        report = node.keepTime()
        keptTime(report)
        guard simulation.execution.realtime.isRequired,
            let thread = report.threads.first(where: { !$0.refused.isEmpty })
        else { return }
        // A module names itself ahead of the cause.
        let who = thread.module == nil ? thread.name + " " : ""
        throw RunFailure(
            .refused, module: thread.module, host: thread.host,
            cause: "\(who)\(thread.refused[0]); `required: true` has the run end here")
    }

    private func throwIfInterrupted() throws {
        if endingFromOutside != nil { throw RunFailure(.refused, cause: "interrupted before it had staged") }
    }

    private func resolveOverrides(_ plan: Plan) throws -> [(slot: Int, bits: UInt64)] {
        let place = SourceLocation(file: "--set", line: 1, column: 1)
        var wrong: [Diagnostic] = []
        var nearNames = NearNames()
        func error(_ text: String) { wrong.append(Diagnostic(.error, at: place, text)) }
        let resolved = options.overrides.compactMap { name, text -> (slot: Int, bits: UInt64)? in
            guard let slot = plan.registry.index(of: name) else {
                let hint = nearNames.didYouMean(name, among: plan.registry.signals.lazy.map(\.name.description))
                error("there is no signal '\(name)'\(hint)")
                return nil
            }
            let signal = plan.registry.signals[slot]
            if signal.isWired {
                error("'\(name)' can't be set: a wire drives it")
            } else if !signal.isWritable && !plan.modules[signal.module].isFree {
                error("'\(name)' can't be set: it is read-only (list it under signals: with writable: true)")
            } else if let bits = SignalValue.bits(text, signal.type) {
                return (slot, bits)
            } else {
                error("'\(text)' is no \(signal.type.word) for '\(name)'")
            }
            return nil
        }
        if !wrong.isEmpty { throw ConfigurationError(wrong) }
        return resolved
    }

    private func summary(
        _ outcome: RunOutcome, _ failure: RunFailure?, frames: UInt64, wall: Double,
        hostTimes: [HostTimes], _ scheduler: FrameScheduler?
    ) -> RunSummary {
        let pacer = scheduler?.pacer, lateness = pacer.flatMap { RunTiming.Percentiles($0.lateness.durations) }
        let staged = progress.stagedNanoseconds == 0 ? monotonicNow() : progress.stagedNanoseconds
        let time = Double(frames) / simulation.execution.rateHz
        return RunSummary(
            name: simulation.name, mode: (scheduler?.state.mode ?? simulation.execution.mode).rawValue, frames: frames,
            time: time,
            startup_s: Double(staged - startedAt) / 1e9, wall_s: wall,
            frames_per_s: wall > 0 ? Double(frames) / wall : 0,
            realtime_factor: wall > 0 && frames > 0 ? time / wall : nil,
            modules: simulation.modules.count, hosts: Set(simulation.modules.map(\.host)).count,
            epochs: Int(progress.epoch) + 1,
            overruns: pacer?.overruns ?? 0,
            resynchronised: pacer.flatMap { $0.resynchronised > 0 ? $0.resynchronised : nil },
            lateness_us: lateness,
            realtime: pacer.flatMap { pacer in
                lateness != nil || !report.threads.isEmpty
                    ? RealtimeSummary(simulation.execution.realtime, pacer, report) : nil
            },
            timing: timing(hostTimes, scheduler), profile: profile(hostTimes, scheduler),
            recording_stalls: nil, digest: nil, earlier_digests: nil, module_errors: node.moduleErrors,
            outcome: outcome,
            error: failure.map(\.description))
    }
}

extension Coordinator {
    private func timeline(_ trace: TraceRing) -> RunTrace {
        RunTrace(node.hostTraces, coordinator: trace, participants: (plan?.hosts ?? [nil]).map { $0 ?? "desk" })
    }

    /// The first, and those that have little in common with the one shown before.
    private func showOverrun() {
        guard let trace = options.trace, overrunsShown < Self.mostOverrunsShown,
            overrunsShown == 0 || trace.count - eventsShown >= UInt64(TraceRing.standardCapacity) / 8
        else { return }
        overrunsShown += 1
        eventsShown = trace.count
        options.onOverrun(timeline(trace))
    }

    /// Nil where no frame completed and no host has anything to tell.
    private func timing(_ told: [HostTimes], _ scheduler: FrameScheduler?) -> RunTiming? {
        guard told.contains(where: { !$0.frame.counts.isEmpty }) else { return nil }
        var hosts: [String] = []
        for module in simulation.modules where !hosts.contains(module.host ?? "desk") {
            hosts.append(module.host ?? "desk")
        }
        return RunTiming(told, scheduler?.times, pacer: scheduler?.pacer, hosts: hosts)
    }
}

/// A reference handed to another thread by a promise the compiler can't see.
struct UncheckedReference<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
