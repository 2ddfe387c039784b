import ArgumentParser
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Measure what a frame takes on this machine, or on the hosts of a configuration, beside the bare system.",
        discussion: """
            Frame times p50, p99, p99.9 and max against hosts x modules x signals, with what the bare system takes for the \
            same (the floor), processor time and system calls a frame. Without CONFIG everything runs here, several hosts \
            as nodes on loopback; with CONFIG the modules go to its hosts, one program of 100 kB beneath their module \
            roots. Nothing else is left behind.
            Examples:
              hermes bench
              hermes bench --hosts 2 --modules 1 --signals 1,100,1000 --plot frames.svg
              hermes bench sim.yaml --key desk.key --json -
              hermes bench --mode realtime --rate 1000 --seconds 10
              hermes bench --against helics --hosts 2 --signals 1,100
            """)

    enum Peer: String, ExpressibleByArgument, CaseIterable { case helics }

    @Argument(help: "A YAML file; its `hosts:` take part, by its `mirrors:`; nothing else of it matters.")
    var config: ByteString?
    @Option(help: ArgumentHelp("How many hosts; 1,2 or, with CONFIG, one and all.", valueName: "list"))
    var hosts: String?
    @Option(help: ArgumentHelp("Modules on each host; 1,2,8 if not given.", valueName: "list"))
    var modules: String?
    @Option(help: ArgumentHelp("Signals from each module to the next; 1,100,1000 if not given.", valueName: "list"))
    var signals: String?
    @Option(help: ArgumentHelp("Frames in each round.", valueName: "count"))
    var frames: Int?
    @Option(
        help: ArgumentHelp("Seconds that each round takes, about; 0.3 if not given, 3 in realtime.", valueName: "s"))
    var seconds: Double?
    @Option(help: ArgumentHelp("Rounds, in which all who are compared take turns; 3 if not given.", valueName: "count"))
    var rounds: Int?
    @Option(help: "afap, or realtime: how late frames begin.")
    var mode: BenchmarkMode = .afap
    @Option(help: ArgumentHelp("Frames a second in realtime; 1000 if not given.", valueName: "hz"))
    var rate: Int?
    @Option(help: ArgumentHelp("Frames that hosts are granted at once, 1 to 1024.", valueName: "count"))
    var grant: UInt64?
    @Option(help: "Another simulator to measure beside: helics, from PyPI.")
    var against: Peer?
    @Option(help: ArgumentHelp("Write everything as JSON, - for standard output.", valueName: "file"))
    var json: ByteString?
    @Option(help: ArgumentHelp("Draw the frame times.", valueName: "file.svg"))
    var plot: ByteString?
    @Flag(help: "A short look: few shapes, one short round.")
    var quick = false
    @OptionGroup var keyOption: KeyOption

    private static let mostFrames = 100_000_000

    func validate() throws {
        for (text, option, most) in lists { _ = try text.map { try BenchmarkShape.list($0, of: option, most: most) } }
        if let frames, !(10...Self.mostFrames).contains(frames) {
            throw ValidationError("--frames is 10 to \(Self.mostFrames)")
        }
        if let seconds, !(seconds >= 0.01 && seconds <= 3600) { throw ValidationError("--seconds is 0.01 to 3600") }
        if frames != nil && seconds != nil { throw ValidationError("give --frames or --seconds, not both") }
        if let rounds, !(1...1000).contains(rounds) { throw ValidationError("--rounds is 1 to 1000") }
        if let rate, !(1...100_000).contains(rate) { throw ValidationError("--rate is 1 to 100000 frames a second") }
        if rate != nil && mode != .realtime { throw ValidationError("--rate is for --mode realtime") }
        if let grant, !(1...1024).contains(grant) { throw ValidationError("--grant is 1 to 1024 frames") }
        if grant != nil && mode == .realtime { throw ValidationError("--grant is for afap: realtime grants one frame") }
        if keyOption.key != nil && config == nil { throw ValidationError("--key is for the hosts of a CONFIG") }
        if against != nil && config != nil {
            throw ValidationError("--against compares on this machine: leave CONFIG out")
        }
        if against != nil && mode == .realtime {
            throw ValidationError("--against compares frames as fast as possible: leave --mode realtime out")
        }
        if json == "" { throw ValidationError("--json takes a file's name, or - for standard output") }
        if let plot, !plot.hasSuffix(".svg") || plot == ".svg" {
            throw ValidationError("--plot takes the name of an SVG file, with .svg at its end, not '\(plot)'")
        }
    }

    private var lists: [(text: String?, option: String, most: Int)] {
        [
            (hosts, "--hosts", BenchmarkShape.mostHosts), (modules, "--modules", BenchmarkShape.mostModules),
            (signals, "--signals", BenchmarkShape.mostSignals),
        ]
    }

    func run() throws {
        let signals = try receiveSignals()
        let console = Console()
        let settings = try settings(console)
        let outputs = RunOutputs(configuration: config, keyFile: keyOption.key, nil)
        defer { outputs.discardUnused() }
        let jsonFile = try json.flatMap { $0 == "-" ? nil : try outputs.open($0, for: "--json") }
        let plotFile = try plot.map { try outputs.open($0, for: "--plot") }
        let folder = try BenchmarkFolder()
        defer { folder.remove() }
        let bench = BenchmarkPlace(folder: folder, programs: try BenchmarkPrograms(), signals: signals)
        let result: BenchmarkResult
        do {
            result = try BenchmarkSession(settings: settings, bench: bench, console: console).run()
        } catch let code as ExitCode where code == ExitCode(130) {
            console.note("interrupted; nothing is left of the benchmark")
            throw code
        }
        if json == "-" {
            console.result(result.json.description)
        } else {
            console.result(result.text)
        }
        try write(result.json.description + "\n", to: jsonFile)
        if let plotFile { try write(BenchmarkPlot(result).svg, to: plotFile) }
    }

    private func write(_ text: String, to file: OutputFile?) throws {
        do throws(OutputError) {
            try file?.write(Array(text.utf8))
        } catch {
            throw RunFailure(.resource, cause: error.description)
        }
    }

    private func settings(_ console: Console) throws -> BenchmarkSettings {
        let simulation = try config.map { try ConfigurationLoader.load($0, console) }
        let named = simulation?.hosts ?? []
        if let config, named.isEmpty {
            throw ValidationError("\(config) has no `hosts:`; leave it out to measure this machine")
        }
        let hostCounts = try hosts.map { try BenchmarkShape.list($0, of: "--hosts", most: BenchmarkShape.mostHosts) }
        if let most = hostCounts?.max(), let config, most > named.count {
            throw ValidationError("--hosts \(most): \(config) has \(named.count)")
        }
        func list(_ text: String?, _ option: String, _ most: Int, _ otherwise: [Int]) throws -> [Int] {
            try text.map { try BenchmarkShape.list($0, of: option, most: most) } ?? otherwise
        }
        let ordinary = config == nil ? [1, 2] : named.count == 1 ? [1] : [1, named.count]
        let shapes = BenchmarkShape.all(
            hosts: hostCounts ?? ordinary,
            modules: try list(modules, "--modules", BenchmarkShape.mostModules, quick ? [1] : [1, 2, 8]),
            signals: try list(signals, "--signals", BenchmarkShape.mostSignals, quick ? [1, 100] : [1, 100, 1000]))
        let isRealtime = mode == .realtime
        return BenchmarkSettings(
            shapes: shapes, frames: frames, seconds: seconds ?? (quick ? 0.05 : isRealtime ? 3 : 0.3),
            rounds: rounds ?? (quick ? 1 : 3),
            pacing: BenchmarkPacing(
                mode: isRealtime ? .realtime : .afap, rateHz: rate ?? 1000, grant: grant,
                // Nodes of our own stand for other machines, which have no socket file between them.
                mirrors: simulation?.execution.mirrors ?? .tcp),
            hosts: Array(named.prefix(shapes.map(\.hosts).max() ?? 1)), keyFile: keyOption.key,
            againstHelics: against == .helics, countsSystemCalls: !quick && !isRealtime && config == nil)
    }
}

/// Modes that need nobody to go on.
enum BenchmarkMode: String, CaseIterable, ExpressibleByArgument { case afap, realtime }
