import HermesModel
import Testing

@testable import HermesCoordinator

@Suite struct RunStateTests {
    private func state(_ mode: Execution.Mode, frames: UInt64, lastFrame: UInt64? = 100) -> RunState {
        var state = RunState(mode: mode, lastFrame: lastFrame)
        for frame in 0..<frames { state.completed(frame + 1) }
        return state
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var mode: Execution.Mode
        var isPaused: Bool
        var command: RunCommand
        var mode2: Execution.Mode
        var isPaused2: Bool
        var next: RunState.Directive
        var testDescription: String { "\(mode) paused \(isPaused): \(command)" }

        init(
            _ mode: Execution.Mode, _ isPaused: Bool, _ command: RunCommand, _ mode2: Execution.Mode, _ isPaused2: Bool,
            _ next: RunState.Directive
        ) {
            (self.mode, self.isPaused, self.command) = (mode, isPaused, command)
            (self.mode2, self.isPaused2, self.next) = (mode2, isPaused2, next)
        }
    }

    /// Every command in every mode, running and paused, at frame 4. A single_frame simulation is always paused.
    static let table: [Row] = [
        Row(.afap, false, .pause, .afap, true, .wait), Row(.afap, true, .pause, .afap, true, .wait),
        Row(.realtime, false, .pause, .realtime, true, .wait), Row(.realtime, true, .pause, .realtime, true, .wait),
        Row(.singleFrame, true, .pause, .singleFrame, true, .wait),

        Row(.afap, false, .resume, .afap, false, .run(frame: 5)),
        Row(.afap, true, .resume, .afap, false, .run(frame: 5)),
        Row(.realtime, false, .resume, .realtime, false, .run(frame: 5)),
        Row(.realtime, true, .resume, .realtime, false, .run(frame: 5)),
        Row(.singleFrame, true, .resume, .afap, false, .run(frame: 5)),

        Row(.afap, false, .reset, .afap, false, .reset), Row(.afap, true, .reset, .afap, true, .reset),
        Row(.realtime, false, .reset, .realtime, false, .reset), Row(.realtime, true, .reset, .realtime, true, .reset),
        Row(.singleFrame, true, .reset, .singleFrame, true, .reset),

        Row(.afap, false, .stop, .afap, false, .end(.stopped)), Row(.afap, true, .stop, .afap, true, .end(.stopped)),
        Row(.realtime, false, .stop, .realtime, false, .end(.stopped)),
        Row(.realtime, true, .stop, .realtime, true, .end(.stopped)),
        Row(.singleFrame, true, .stop, .singleFrame, true, .end(.stopped)),

        Row(.afap, true, .step(count: 2), .afap, true, .run(frame: 5)),
        Row(.realtime, true, .step(count: 2), .realtime, true, .run(frame: 5)),
        Row(.singleFrame, true, .step(count: 2), .singleFrame, true, .run(frame: 5)),

        Row(.afap, false, .setMode(.afap), .afap, false, .run(frame: 5)),
        Row(.afap, false, .setMode(.realtime), .realtime, false, .run(frame: 5)),
        Row(.afap, false, .setMode(.singleFrame), .singleFrame, true, .wait),
        Row(.afap, true, .setMode(.afap), .afap, true, .wait),
        Row(.afap, true, .setMode(.realtime), .realtime, true, .wait),
        Row(.afap, true, .setMode(.singleFrame), .singleFrame, true, .wait),
        Row(.realtime, false, .setMode(.afap), .afap, false, .run(frame: 5)),
        Row(.realtime, false, .setMode(.realtime), .realtime, false, .run(frame: 5)),
        Row(.realtime, false, .setMode(.singleFrame), .singleFrame, true, .wait),
        Row(.realtime, true, .setMode(.afap), .afap, true, .wait),
        Row(.realtime, true, .setMode(.realtime), .realtime, true, .wait),
        Row(.realtime, true, .setMode(.singleFrame), .singleFrame, true, .wait),
        Row(.singleFrame, true, .setMode(.afap), .afap, true, .wait),
        Row(.singleFrame, true, .setMode(.realtime), .realtime, true, .wait),
        Row(.singleFrame, true, .setMode(.singleFrame), .singleFrame, true, .wait),
    ]

    @Test(arguments: table) func everyCommandInEveryMode(row: Row) throws {
        var state = state(row.mode, frames: 4)
        if row.isPaused { try state.handle(.pause) }
        #expect(state.isPaused == row.isPaused)
        try state.handle(row.command)
        #expect(state.mode == row.mode2 && state.isPaused == row.isPaused2 && state.next == row.next)
        #expect(state.isPaced == (state.mode == .realtime && !state.isPaused))
        #expect(state.frame == 4)
    }

    @Test func aModeIsChosenWhilePausedAndResumedInto() throws {
        var state = state(.singleFrame, frames: 4)
        try state.handle(.step(count: 9))
        try state.handle(.setMode(.realtime))
        #expect(state.next == .wait && !state.isPaced, "another mode ends the steps")
        try state.handle(.resume)
        #expect(state.mode == .realtime && state.isPaced && state.next == .run(frame: 5))
    }

    @Test(arguments: [Execution.Mode.afap, .realtime]) func aRunningSimulationIsNotStepped(mode: Execution.Mode) {
        var state = state(mode, frames: 4)
        #expect(throws: RunState.Refusal.notPaused) { try state.handle(.step(count: 1)) }
        #expect(state == self.state(mode, frames: 4))
    }

    @Test func stepsAddUpAndThenItWaits() throws {
        var state = state(.singleFrame, frames: 0)
        #expect(state.next == .wait)
        try state.handle(.step(count: 2))
        try state.handle(.step(count: 1))
        for frame in 1...3 as ClosedRange<UInt64> {
            #expect(state.next == .run(frame: frame))
            state.completed(frame)
        }
        #expect(state.next == .wait && state.stepTarget == 3)
        try state.handle(.step(count: 5))
        try state.handle(.pause)
        #expect(state.next == .wait, "a pause ends the steps")
    }

    @Test func countsAreCheckedAgainstTheEnd() throws {
        var state = state(.singleFrame, frames: 4, lastFrame: 10)
        #expect(throws: RunState.Refusal.badCount) { try state.handle(.step(count: 0)) }
        #expect(throws: RunState.Refusal.badCount) { try state.handle(.step(count: .max)) }
        #expect(throws: RunState.Refusal.pastTheEnd(framesLeft: 6)) { try state.handle(.step(count: 7)) }
        try state.handle(.step(count: 2))
        #expect(throws: RunState.Refusal.pastTheEnd(framesLeft: 4)) { try state.handle(.step(count: 5)) }
        try state.handle(.step(count: 4))
        for frame in 5...10 as ClosedRange<UInt64> { state.completed(frame) }
        #expect(state.next == .end(.completed))
    }

    @Test func aRunOfNoFramesIsComplete() {
        #expect(RunState(mode: .afap, lastFrame: 0).next == .end(.completed))
        #expect(RunState(mode: .afap, lastFrame: nil).next == .run(frame: 1))
    }

    @Test func aResetOpensAnEpochAtFrameZero() throws {
        var state = state(.afap, frames: 7)
        try state.handle(.reset)
        try state.handle(.pause)
        #expect(state.next == .reset)
        state.didReset()
        #expect(state.next == .wait && state.frame == 0 && state.stepTarget == 0)
        try state.handle(.resume)
        #expect(state.next == .run(frame: 1))
    }

    @Test func oneThatEndsTakesNothingButStop() throws {
        var state = state(.afap, frames: 1)
        try state.handle(.reset)
        try state.handle(.stop)
        #expect(state.next == .end(.stopped), "before the reset")
        for command in [RunCommand.pause, .resume, .reset, .step(count: 1), .setMode(.afap)] {
            #expect(throws: RunState.Refusal.alreadyEnding) { try state.handle(command) }
        }
        try state.handle(.stop)
        state.end(.failed)
        #expect(state.next == .end(.stopped), "the first end counts")
    }
}
