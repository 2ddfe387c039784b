import CKeeper
import Glibc
import HermesCoordinator
import HermesModel
import HermesNode
import HermesPlan
import HermesProtocol
import HermesRecorder
import HermesSystem
import HermesTiming
import Synchronization

/// One `hermes run`: coordinator and embedded node on a thread of their own, and beside them, on the main thread, a
/// loop for everything people do: signals, the control socket, progress and printing.
struct RunSession {
    var simulation: Simulation
    var overrides: [(signal: String, text: String)] = []
    var lastFrame: UInt64?
    var printed: [String] = []
    var recording: OutputFile?
    var wantsDigest = false
    var wantsProfile = false
    /// Where a timeline goes.
    var trace: OutputFile?
    /// Whether `hermes pause`, `stop` and the like reach it.
    var takesCommands = true
    /// Shown every completed frame, after recording and digest.
    var observers: [any FrameObserver] = []
    var meeting = RunNodes.Meeting()
    var console: Console

    /// - Throws: `ConfigurationError` when the announced signals don't fit, `RunFailure` when nothing could be started.
    func run() throws -> RunSummary {
        try DeskCPUs.check(simulation)
        // First of all: the keeper is forked while this process has one thread.
        var processKeeper = try startKeeper()
        let signals: Int32, result: RunResult
        do {
            signals = try receiveSignals()
            result = try RunResult()
            try console.writeInBackground(signals: signals)
        } catch {
            keeper_finish(&processKeeper)
            throw RunFailure(.resource, cause: "\(error)")
        }
        let console = console
        let protection = RecordingProtection()
        let recorder = recording.map { file in
            CSVRecorder(
                file: file, onLoss: { console.warning("\($0); the run goes on without it") },
                onFile: { protection.node?.protectRecording($0) })
        }
        let digest = wantsDigest ? FrameDigest() : nil
        let lastValues = printed.isEmpty ? nil : LastValues(names: printed)
        let own: [(any FrameObserver)?] = [recorder, digest, lastValues]
        let everyObserver = own.compactMap { $0 } + observers
        let ring = trace.map { _ in TraceRing() }
        var meeting = meeting
        meeting.trace = ring
        let nodes = try RunNodes(
            simulation, keeper: processKeeper, meeting: meeting, observers: everyObserver, console: console)
        protection.node = nodes.desk
        var options = Coordinator.Options(overrides: overrides, lastFrame: lastFrame)
        options.wantsProfile = wantsProfile
        options.trace = ring
        let traceFile = trace.map { TraceFile(file: $0, console: console) }
        if let traceFile { options.onOverrun = { traceFile.writeOverrun($0) } }
        let coordinator = Coordinator(
            simulation, node: nodes.session, options: options,
            observers: everyObserver, warn: { console.diagnostic($0) },
            keptTime: { RealtimeText.tell($0, console) })

        let frames: pthread_t
        do {
            frames = try startThread("the frames") { result.finish(Result { try coordinator.run() }) }
        } catch {
            nodes.session.terminate(hurried: true)
            nodes.session.remove()
            throw RunFailure(.resource, cause: "\(error)")
        }
        let deaf = serve(
            coordinator, lastValues, controlPath: "\(nodes.folder.path)/control.sock", signals: signals,
            until: result)
        pthread_join(frames, nil)

        let isTraced = traceFile?.write(coordinator.trace) ?? true
        var summary = try result.get()
        if let deaf, summary.outcome != .failed {
            (summary.outcome, summary.error) = (.failed, deaf.description)
        }
        if !isTraced && summary.outcome != .failed {
            (summary.outcome, summary.error) = (.failed, "the timeline is lost")
        }
        summary.recording_stalls = recorder?.stalls
        if let last = recorder?.lastOfLost, last < summary.frames {
            console.warning(
                "the run went on while the recording's last rows were being written: frames \(last + 1) to "
                    + "\(summary.frames) are complete, but not recorded")
        }
        summary.digest = digest?.text
        if let digest, !digest.endedEpochs.isEmpty { summary.earlier_digests = digest.endedEpochs }
        if let line = lastValues?.line { console.result(line) }
        return summary
    }

    /// Until the run is over: a wake-up for each event, and a few a second for progress. No client reaches this loop, which
    /// has the signals.
    /// - Returns: why it could not go on waiting for events, which ends the run.
    private func serve(
        _ coordinator: Coordinator, _ lastValues: LastValues?, controlPath: String, signals: Int32,
        until result: RunResult
    ) -> SystemError? {
        var deaf: SystemError?
        var control: ControlServer?
        do {
            if takesCommands {
                control = try ControlServer(path: controlPath, coordinator: coordinator, lastFrame: lastFrame) {
                    [console] in console.note($0)
                }
            }
        } catch {
            console.warning("no command reaches this run: \(error)")
        }
        var line = ProgressLine(rateHz: simulation.execution.rateHz, lastFrame: lastFrame)
        var ticks = 0
        var hasTold = false
        let tickMilliseconds: Int32 = 250
        var nextTick = monotonicMilliseconds() + Int(tickMilliseconds)
        while true {
            var watched = [
                pollfd(fd: result.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
            ]
            do {
                try pollDescriptors(
                    &watched, milliseconds: Int32(max(0, nextTick - monotonicMilliseconds())))
            } catch {
                deaf = error
                coordinator.abandon()
                break
            }
            if watched[1].revents != 0 { interrupt(coordinator, signals) }
            if watched[0].revents != 0 { break }
            guard monotonicMilliseconds() >= nextTick else { continue }
            nextTick += Int(tickMilliseconds)
            ticks += 1
            guard coordinator.progress.hasStaged else { continue }
            if !hasTold && coordinator.progress.isPaused && coordinator.progress.mode == .singleFrame {
                console.note(
                    "paused at frame 0: `hermes step \(simulation.name)` runs a frame, `hermes resume \(simulation.name)` all"
                )
            }
            hasTold = true
            let isOnSecond = ticks % 4 == 0
            if console.isTerminal {
                console.progress(line.text(coordinator.progress, now: UInt64(monotonicMilliseconds()) * 1_000_000))
            } else if ticks % 20 == 0 {
                console.note(line.text(coordinator.progress, now: UInt64(monotonicMilliseconds()) * 1_000_000))
            }
            if isOnSecond && !coordinator.progress.isPaused, let text = lastValues?.current() { console.result(text) }
        }
        control?.close()
        return deaf
    }

    /// The first signal ends the run after the frame under way; the next does not wait for it.
    private func interrupt(_ coordinator: Coordinator, _ signals: Int32) {
        var number: UInt8 = 0
        guard read(signals, &number, 1) == 1 else { return }
        console.interrupted()
        if coordinator.progress.hasStaged && !coordinator.isInterrupted {
            console.note("interrupted; ending after this frame (once more to end at once)")
            coordinator.interrupt()
        } else {
            coordinator.interrupt()
            coordinator.abandon()
        }
    }
}

/// The end of the run, from its thread to the service loop.
private final class RunResult: Sendable {
    private let end: WakePipe
    private let value = Mutex<Result<RunSummary, any Error>?>(nil)

    init() throws(SystemError) { end = try WakePipe() }

    /// Readable once the run is over.
    var descriptor: Int32 { end.descriptor }

    func finish(_ result: sending Result<RunSummary, any Error>) {
        value.withLock { $0 = result }
        end.wake()
    }

    func get() throws -> RunSummary { try value.withLock { try $0!.get() } }
}

private func monotonicMilliseconds() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Stands for the desk's node until there is one.
private final class RecordingProtection {
    var node: EmbeddedNode?
}
