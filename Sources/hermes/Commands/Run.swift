import ArgumentParser
import FoundationEssentials
import Glibc
import HermesCoordinator
import HermesModel
import HermesProtocol
import HermesSystem

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a simulation until its end, `hermes stop` or Ctrl-C.",
        discussion: """
            Results go to standard output, everything else to standard error.
            Examples:
              hermes run sim.yaml --print vehicle.position --record run.csv
              hermes run sim.yaml --frames 1000 --digest --summary -
              hermes run sim.yaml --mode realtime --set vehicle.mass=1200
              hermes run sim.yaml --frames 1000 --profile --trace run.json
            """)

    @Argument(help: "The simulation's YAML file.")
    var config: ByteString
    @Option(help: ArgumentHelp("Run this many frames, whatever the end time.", valueName: "count"))
    var frames: UInt64?
    @Option(help: ArgumentHelp("Simulated seconds to run.", valueName: "seconds"))
    var endTime: Double?
    @Option(help: "How frames follow each other.")
    var mode: Execution.Mode?
    @Option(help: ArgumentHelp("Frames per simulated second.", valueName: "hz"))
    var rate: Double?
    @Option(help: "The simulation's name, for running one configuration twice at a time.", transform: textArgument)
    var name: String?
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("A value for frame 0, over the module's own. Repeatable.", valueName: "signal=value"),
        transform: textArgument)
    var overrides: [String] = []
    @Option(
        name: .customLong("print"), parsing: .upToNextOption,
        help: ArgumentHelp("Signals to show each second and at the end.", valueName: "signal"),
        transform: textArgument)
    var printed: [String] = []
    @Option(help: ArgumentHelp("Write every completed frame to this CSV file.", valueName: "file"))
    var record: ByteString?
    @Flag(help: "Print one hash over every published signal of every frame.")
    var digest = false
    @Option(help: ArgumentHelp("Write a summary as JSON to this file, - for standard output.", valueName: "file"))
    var summary: ByteString?
    @Flag(help: "Show where the time went, by module and host; with --summary also there.")
    var profile = false
    @Option(
        help: ArgumentHelp(
            "Write a timeline of hosts, modules and messages to this file, for https://ui.perfetto.dev.",
            valueName: "file"))
    var trace: ByteString?
    @Option(
        help: ArgumentHelp(
            "Frames that other hosts are granted at once when as fast as possible, 1 to 1024; if not given, about 20 ms of them.",
            valueName: "count"))
    var grant: UInt64?
    @Option(
        help: ArgumentHelp(
            "What carries signals between hosts: auto (a stream for each pair of hosts; a socket file where both are on one machine, else TCP), tcp or zeromq.",
            valueName: "transport"))
    var mirrors: MirrorTransport?
    @OptionGroup var meeting: MeetingOptions
    @Flag(name: .shortAndLong, help: "Only results, warnings and errors.")
    var quiet = false
    @Flag(name: .shortAndLong, help: "More about what happens.")
    var verbose = false

    func validate() throws {
        if let endTime, !(endTime >= 0 && endTime.isFinite) {
            throw ValidationError("--end-time is a number of seconds from 0 up")
        }
        if let rate, !(rate > 0 && rate.isFinite) { throw ValidationError("--rate is a positive number") }
        if let rate, !(1 / rate).isFinite {
            throw ValidationError("--rate \(SignalValue.text(rate)) is so small that a frame has no finite length")
        }
        if let frames, Double(frames) > Execution.mostFrames { throw ValidationError("--frames is at most 2^53") }
        if let grant, !(1...1024).contains(grant) {
            throw ValidationError("--grant is 1 to 1024 frames; without it about 20 ms of them are granted at once")
        }
        if frames != nil && endTime != nil { throw ValidationError("give --frames or --end-time, not both") }
        for (option, path) in [("--record", record), ("--trace", trace), ("--summary", summary)] where path == "" {
            throw ValidationError("\(option) takes a file's name")
        }
        for (option, path) in [("--record", record), ("--trace", trace)] where path == "-" {
            throw ValidationError(
                "\(option) takes a file's name; /dev/stdout for standard output, ./- for a file named -")
        }
        for text in overrides where Assignment(text) == nil {
            throw ValidationError("--set takes MODULE.SIGNAL=VALUE, not '\(text)'")
        }
        if let name, !isValidName(name) || name.hasPrefix("-") {
            throw ValidationError(
                "--name takes 1 to 64 letters, digits, - and _, none of them a leading -, not '\(name)'")
        }
    }

    func run() throws {
        let console = Console(verbosity: quiet ? .quiet : verbose ? .verbose : .normal)
        var simulation = try ConfigurationLoader.load(config, console)
        try apply(to: &simulation)
        var outputs = RunOutputs(
            configuration: config, keyFile: meeting.keyOption.key, simulation)
        defer { outputs.discardUnused() }
        outputs.recording = try record.map { try outputs.openRecording($0) }
        outputs.trace = try trace.map { try outputs.open($0, for: "--trace") }
        if let summary, summary != "-" { outputs.summary = try outputs.open(summary, for: "--summary") }
        if grant != nil, let reason = whyNothingIsGranted(simulation) { console.warning("--grant: \(reason)") }
        var meeting = meeting.meeting
        meeting.grant = grant
        var session = RunSession(
            simulation: simulation, overrides: overrides.compactMap { Assignment($0) }.map { ($0.signal, $0.value) },
            lastFrame: lastFrame(of: simulation), printed: printed, recording: outputs.recording, wantsDigest: digest,
            meeting: meeting, console: console)
        session.wantsProfile = profile
        session.trace = outputs.trace
        try report(session.run(), outputs.summary, console)
    }

    private func apply(to simulation: inout Simulation) throws {
        if let name { simulation.name = name }
        if let mode { simulation.execution.mode = mode }
        if let mirrors { simulation.execution.mirrors = mirrors }
        if let endTime { simulation.execution.endTime = endTime }
        if let rate {
            simulation.execution.rateHz = rate
            for module in simulation.modules {
                guard let moduleRate = module.rateHz else { continue }
                guard StepInterval.frames(rateHz: moduleRate, baseRateHz: rate) != nil else {
                    throw ConfigurationError([
                        Diagnostic(
                            .error, at: module.rateLocation ?? module.location,
                            "rate_hz \(SignalValue.text(moduleRate)) of module \(module.name) does not divide "
                                + "the base rate \(SignalValue.text(rate)) given with --rate")
                    ])
                }
            }
        }
        if let end = simulation.execution.endTime, frames == nil,
            end * simulation.execution.rateHz > Execution.mostFrames
        {
            let options = [
                rate.map { "--rate \(SignalValue.text($0))" }, endTime.map { "--end-time \(SignalValue.text($0))" },
            ]
            throw ValidationError(
                "\(options.compactMap { $0 }.joined(separator: " with ")) makes more than 2^53 frames of this simulation"
            )
        }
    }

    private func whyNothingIsGranted(_ simulation: Simulation) -> String? {
        if simulation.isAtDesk {
            return "no effect, for all modules run on this host and wait for no messages"
        }
        let mode = simulation.execution.mode
        return mode == .afap ? nil : "no effect in mode \(mode.rawValue), where frames are granted one by one"
    }

    private func lastFrame(of simulation: Simulation) -> UInt64? {
        frames ?? simulation.execution.lastFrame
    }

    private func report(_ run: RunSummary, _ file: OutputFile?, _ console: Console) throws {
        if let digest = run.digest { console.result("digest \(digest)") }
        // Through the console, which has other results to write before it.
        let isResult = summary == "-" || file?.isStandardOutput == true
        if summary != nil { try write(run, to: isResult ? nil : file, console) }
        if let error = run.error { console.error(error) }
        console.note(
            "\(run.name): \(run.outcome.rawValue), \(run.frames) frames, \(SignalValue.text(run.time)) s simulated in "
                + "\(decimals(run.wall_s, 3)) s"
                + (run.realtime_factor.map { " (\(decimals($0, 1))x real time)" } ?? ""))
        if run.overruns > 0 { console.note(Self.late(run.overruns)) }
        if let realtime = run.realtime, realtime.overruns_in_grace > 0 {
            console.note(
                "\(Self.late(realtime.overruns_in_grace)) in the grace of "
                    + "\(SignalValue.text(realtime.grace_s)) s at the start"
            )
        }
        if let lateness = run.lateness_us {
            console.note(
                "frames began late by p50 \(lateness.p50) us, p99 \(lateness.p99) us, p99.9 \(lateness.p999) us, max \(lateness.max) us"
            )
        }
        if let timing = run.timing { TimingText.lines(timing).forEach { console.note($0) } }
        // Not among JSON, which has it, too.
        if let profile = run.profile, !isResult { console.result(ProfileText.text(profile)) }
        switch run.outcome {
        case .completed, .stopped: return
        case .interrupted: throw ExitCode(130)
        case .failed: throw ExitCode(2)
        }
    }

    private static func late(_ frames: some BinaryInteger) -> String {
        frames == 1 ? "1 frame ended after its deadline" : "\(frames) frames ended after their deadlines"
    }

    private func write(_ run: RunSummary, to file: OutputFile?, _ console: Console) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(run), as: UTF8.self)
        guard let file else { return console.result(text) }
        do throws(OutputError) {
            try file.write(Array((text + "\n").utf8))
        } catch {
            console.error("the summary \(error)")
            throw ExitCode(2)
        }
    }
}

extension Execution.Mode: ExpressibleByArgument {}
extension MirrorTransport: ExpressibleByArgument {}

extension Execution {
    /// Frames are counted exactly in f64 up to here.
    static let mostFrames = 9_007_199_254_740_992.0

    /// The frame at the end time; nil without one.
    var lastFrame: UInt64? { endTime.map { UInt64(min(($0 * rateHz).rounded(), Self.mostFrames)) } }
}

/// Names of simulations and hosts.
func isValidName(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count)
        && name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
}
