import ArgumentParser
import Glibc
import HermesCoordinator
import HermesModel
import HermesRecorder

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a configuration twice and compare every published signal of every frame, bit for bit.",
        discussion: """
            Runs as fast as possible, whatever the configured mode. Exit code 2 when the runs differ: the first frame and \
            the signals that differ are named.
            Examples:
              hermes verify sim.yaml
              hermes verify sim.yaml --frames 1000 --format json
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: String
    @Option(help: ArgumentHelp("Compare this many frames; needed without an end_time.", valueName: "count"))
    var frames: UInt64?
    @OptionGroup var meeting: MeetingOptions
    @Option(help: "The form of the output.")
    var format: OutputFormat = .text

    func run() throws {
        let console = Console()
        var simulation = try ConfigurationLoader.load(config, console)
        let end = simulation.execution.lastFrame
        guard let lastFrame = frames ?? end else {
            throw ValidationError("\(config) has no end_time: say how many frames with --frames")
        }
        simulation.execution.mode = .afap
        simulation.name = "\(simulation.name.prefix(57))-verify"
        let comparison = RunComparison(folder: getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")
        let first = try RunSession(
            simulation: simulation, lastFrame: lastFrame, takesCommands: false, observers: [comparison.firstRun],
            meeting: meeting.meeting, console: console
        ).run()
        try check(first, "first", console)
        warn(of: comparison.freeModules, console)
        let second = try RunSession(
            simulation: simulation, lastFrame: lastFrame, takesCommands: false, observers: [comparison.secondRun],
            meeting: meeting.meeting, console: console
        ).run()
        let printout = ComparisonPrintout(frames: first.frames, comparison: comparison)
        if comparison.difference == nil || !second.module_errors.isEmpty {
            try check(second, "second", console)
            console.result(format == .json ? printout.json.description : printout.identical)
        } else {
            console.result(format == .json ? printout.json.description : printout.different)
            console.note(ComparisonPrintout.reasons)
            throw ExitCode(2)
        }
    }

    private func check(_ run: RunSummary, _ which: String, _ console: Console) throws {
        switch run.outcome {
        case .completed:
            guard let error = run.module_errors.first else { return }
            let more = run.module_errors.count == 1 ? "" : " and \(run.module_errors.count - 1) more"
            console.error(
                "in the \(which) run module \(error.module) on host \(error.host) was \(error.action.rawValue) at frame "
                    + "\(error.frame) (\(error.cause))\(more): a run in which `on_module_error` fired proves nothing; see "
                    + "to the cause, then verify again")
        case .interrupted: throw ExitCode(130)
        case .stopped: console.error("the \(which) run was stopped at frame \(run.frames)")
        case .failed: console.error("the \(which) run failed: \(run.error ?? "for no known reason")")
        }
        throw ExitCode(2)
    }

    private func warn(of freeModules: [String], _ console: Console) {
        guard !freeModules.isEmpty else { return }
        console.warning(
            "warning: \(freeModules.joined(separator: ", ")): a free script runs beside the frames, so what it sets "
                + "comes at another frame in each run")
    }
}
