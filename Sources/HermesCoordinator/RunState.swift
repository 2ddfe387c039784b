import HermesModel

/// What outsiders may ask of a run.
public enum RunCommand: Sendable, Equatable {
    case pause, resume, reset, stop
    /// Runs this many frames of a paused simulation.
    case step(count: UInt64)
    case setMode(Execution.Mode)

    var word: String {
        switch self {
        case .pause: "pause"
        case .resume: "resume"
        case .reset: "reset"
        case .stop: "stop"
        case .step: "step"
        case .setMode: "mode"
        }
    }
}

/// How a run ended.
public enum RunOutcome: String, Sendable, Codable {
    case completed, stopped, interrupted, failed
}

/// The state of a run as a value: commands and completed frames go in, what to do next comes out.
struct RunState: Equatable {
    enum Directive: Equatable {
        case run(frame: UInt64)
        /// Paused: wait for a command.
        case wait
        case reset
        case end(RunOutcome)
    }
    enum Refusal: Error, Equatable {
        case notPaused
        case badCount
        case pastTheEnd(framesLeft: UInt64)
        case alreadyEnding
    }

    private(set) var mode: Execution.Mode
    /// The last completed frame of the epoch.
    private(set) var frame: UInt64 = 0
    let lastFrame: UInt64?
    private(set) var isPaused: Bool
    /// A paused simulation runs until this frame.
    private(set) var stepTarget: UInt64 = 0
    private var resetWanted = false
    private var ending: RunOutcome?

    init(mode: Execution.Mode, lastFrame: UInt64?) {
        self.mode = mode
        self.lastFrame = lastFrame
        isPaused = mode == .singleFrame
    }

    var next: Directive {
        if let ending { return .end(ending) }
        if resetWanted { return .reset }
        if let lastFrame, frame >= lastFrame { return .end(.completed) }
        if isPaused && frame >= stepTarget { return .wait }
        return .run(frame: frame + 1)
    }

    /// How far frames may go on without a look at anything else.
    var limit: UInt64 {
        if isPaused { return stepTarget }
        return mode == .afap ? lastFrame ?? .max : frame + 1
    }

    /// True while deadlines count: running in realtime, not stepping by hand.
    var isPaced: Bool { mode == .realtime && !isPaused }

    mutating func completed(_ frame: UInt64) { self.frame = frame }

    mutating func didReset() {
        resetWanted = false
        frame = 0
        stepTarget = 0
    }

    mutating func end(_ outcome: RunOutcome) {
        if ending == nil { ending = outcome }
    }

    mutating func handle(_ command: RunCommand) throws(Refusal) {
        if ending != nil && command != .stop { throw .alreadyEnding }
        switch command {
        case .pause:
            isPaused = true
            stepTarget = frame
        case .resume:
            isPaused = false
            if mode == .singleFrame { mode = .afap }
        case .reset:
            resetWanted = true
        case .stop:
            end(.stopped)
        case .step(let count):
            guard isPaused else { throw .notPaused }
            guard count > 0 else { throw .badCount }
            let start = max(frame, stepTarget)
            let (target, overflows) = start.addingReportingOverflow(count)
            if overflows { throw .badCount }
            if let lastFrame, target > lastFrame { throw .pastTheEnd(framesLeft: lastFrame - start) }
            stepTarget = target
        case .setMode(let mode):
            self.mode = mode
            // A paused simulation stays so until somebody resumes it.
            isPaused = isPaused || mode == .singleFrame
            stepTarget = frame
        }
    }
}

extension RunState.Refusal: CustomStringConvertible {
    var description: String {
        switch self {
        case .notPaused: "the simulation is running: pause it before stepping"
        case .badCount: "a count of frames is a whole number from 1 up"
        case .pastTheEnd(let left): "only \(left) frames are left before the end"
        case .alreadyEnding: "the simulation is ending"
        }
    }
}
