import ArgumentParser
import Glibc
import HermesConfiguration
import HermesCoordinator
import HermesModel
import HermesProtocol
import HermesRecorder
import HermesSystem

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a configuration twice and compare every published signal of every frame, bit for bit.",
        discussion: """
            A simulation over several hosts runs once as placed and once on this host alone, programs and files taken from \
            the configuration's folder; where some of them are not here, and without hosts, it runs twice as it is. \
            Runs as fast as possible, whatever the configured mode. Exit code 2 when the runs differ: the first frame and \
            the signals that differ are named, and whether placement is the reason.
            Examples:
              hermes verify sim.yaml
              hermes verify sim.yaml --frames 1000 --format json
              hermes verify cluster.yaml --key desk.key
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: ByteString
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

        let reference = ReferenceRun(folder: getenv("TMPDIR").map { ByteString(cString: $0) } ?? "/tmp")
        let machines = HostMachines(simulation)
        let first = try session(simulation, lastFrame, reference, machines, console).run()
        try check(first, "first", console)
        warn(of: reference.freeModules, console)

        var printout = ComparisonPrintout(
            frames: first.frames, reference: reference, hosts: machines.all(with: .asPlaced).map(\.name))
        let second = try runAgain(simulation, lastFrame, reference, machines, &printout, console)
        printout.machines = machines.all(with: second)
        guard let difference = printout.difference else {
            console.result(format == .json ? printout.json.description : printout.identical)
            if let note = printout.machineNote { console.note(note) }
            return
        }
        if second == .onOneHost && difference.onlyInFirst.isEmpty && difference.onlyInSecond.isEmpty {
            let again = RunComparison(with: reference)
            try checkUnlessDifferent(
                session(simulation, difference.frame, again, machines, console).run(), again, "third", console)
            printout.framesRepeated = again.difference?.frame ?? difference.frame + 1
        }
        console.result(format == .json ? printout.json.description : printout.different)
        console.note(printout.reasons)
        throw ExitCode(2)
    }

    /// On one host where that says more and can be; else as the first time.
    private func runAgain(
        _ simulation: Simulation, _ lastFrame: UInt64, _ reference: ReferenceRun, _ machines: HostMachines,
        _ printout: inout ComparisonPrintout, _ console: Console
    ) throws -> ComparisonPrintout.SecondRun {
        if simulation.modules.contains(where: { $0.host != nil }) {
            let (moved, immovable) = simulation.onOneHost()
            printout.immovable = immovable
            if immovable.isEmpty {
                let comparison = RunComparison(with: reference)
                let cause: String
                do {
                    let run = try session(moved, lastFrame, comparison, machines, console).run()
                    guard run.outcome == .failed && !comparison.hasBegun else {
                        try checkUnlessDifferent(run, comparison, "second", console)
                        printout.second = .onOneHost
                        printout.difference = comparison.difference
                        return .onOneHost
                    }
                    cause = run.error ?? "it failed"
                } catch let error as ConfigurationError {
                    // They announce something else than on their hosts.
                    cause = error.diagnostics.map(\.message).joined(separator: "; ")
                }
                printout.failureOnOneHost = cause
            }
            console.note(printout.whyAsPlaced)
        }
        let comparison = RunComparison(with: reference)
        try checkUnlessDifferent(
            session(simulation, lastFrame, comparison, machines, console).run(), comparison, "second", console)
        printout.difference = comparison.difference
        return .asPlaced
    }

    private func session(
        _ simulation: Simulation, _ lastFrame: UInt64, _ observer: any FrameObserver, _ machines: HostMachines,
        _ console: Console
    ) -> RunSession {
        var meeting = meeting.meeting
        meeting.welcomed = { machines.add($0, $1.machine) }
        return RunSession(
            simulation: simulation, lastFrame: lastFrame, takesCommands: false, observers: [observer],
            meeting: meeting, console: console)
    }

    private func checkUnlessDifferent(
        _ run: RunSummary, _ comparison: RunComparison, _ which: String, _ console: Console
    ) throws {
        if comparison.difference == nil || !run.module_errors.isEmpty { try check(run, which, console) }
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
