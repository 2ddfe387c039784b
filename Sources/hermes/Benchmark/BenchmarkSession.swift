import ArgumentParser
import Glibc
import HermesCoordinator
import HermesModel
import HermesProtocol
import HermesSystem

/// What is to be measured.
struct BenchmarkSettings {
    var shapes: [BenchmarkShape]
    /// Of each contestant in each round; nil: as many as take `seconds`.
    var frames: Int?
    var seconds: Double
    var rounds: Int
    var pacing: BenchmarkPacing
    /// Those of the configuration; none: this machine alone.
    var hosts: [Host]
    var keyFile: ByteString?
    var againstHelics: Bool
    var countsSystemCalls: Bool
}

/// What came of it.
struct BenchmarkResult {
    var settings: BenchmarkSettings
    var machine: MachineState
    var points: [BenchmarkPoint] = []
    var helicsVersion: String?
    var counter: SystemCallCounter?
    /// What to know when reading the numbers, a sentence each.
    var remarks: [String] = []
}

/// One `hermes bench`: prepares what is needed, and measures shape by shape, all contestants in turns.
struct BenchmarkSession {
    let settings: BenchmarkSettings
    let bench: BenchmarkPlace
    let console: Console

    /// Frames for a first guess of how long they take.
    private static let trial = 200

    /// - Throws: `RunFailure` when something fails, `ExitCode` 130 when a signal comes. Nothing is left then, either.
    func run() throws -> BenchmarkResult {
        var result = BenchmarkResult(settings: settings, machine: MachineState())
        let root = try bench.folder.moduleRoot(with: bench.programs.module)
        let calls = try settings.hosts.isEmpty ? nil : HostCalls(settings.hosts, keyFile: settings.keyFile)
        defer { calls?.close() }
        if let calls { try push(from: root, calls) }
        let helics = try settings.againstHelics ? HelicsContestant(bench) { console.note($0) } : nil
        result.helicsVersion = helics?.version
        result.counter = try settings.countsSystemCalls ? SystemCallCounter.here(bench) : nil
        result.remarks = remarks(result)

        let widest = settings.hosts.isEmpty ? settings.shapes.map(\.hosts).max() ?? 1 : 1
        let nodes = try widest > 1 ? LoopbackNodes(widest, root: root, bench) : nil
        defer { nodes?.end() }
        for (index, shape) in settings.shapes.enumerated() {
            let text = "\(index + 1) of \(settings.shapes.count): \(shape.text)"
            console.isTerminal ? console.progress(text) : console.note(text)
            try nodes?.check()
            let hosts = settings.hosts.isEmpty ? shape.hosts > 1 ? nodes?.hosts ?? [] : [] : settings.hosts
            var point = try measure(
                shape,
                HermesContestant(bench: bench, hosts: hosts, pacing: settings.pacing, keyFile: settings.keyFile), calls,
                helics)
            point.systemCalls = try result.counter?.perFrame(shape, root: root, pacing: settings.pacing, bench)
            result.points.append(point)
        }
        return result
    }

    // MARK: One shape

    private func measure(
        _ shape: BenchmarkShape, _ hermes: HermesContestant, _ calls: HostCalls?, _ helics: HelicsContestant?
    ) throws -> BenchmarkPoint {
        var point = BenchmarkPoint(shape: shape)
        var hermes = hermes
        if !hermes.hosts.isEmpty { hermes.startSeconds = try hermes.measureStart(shape) }
        point.frames = try frames(hermes, shape)
        let floor: any BenchmarkContestant
        if let calls {
            floor = RoundTripContestant(calls: calls)
            point.floorName = "round trip of a message"
        } else {
            let bare = try quickestFloor(shape)
            floor = bare
            point.floorName = bare.name(shape)
        }
        let floorFrames = try calls == nil ? frames(floor, shape) : 0
        let helicsFrames = try helics.map { try frames($0, shape, trial: 40) } ?? 0
        for _ in 0..<settings.rounds {
            point.floor.append(try floor.measure(shape, frames: floorFrames, warmUp: warmUp(floorFrames)))
            point.hermes.append(try hermes.measure(shape, frames: point.frames, warmUp: warmUp(point.frames)))
            if let helics {
                point.helics.append(try helics.measure(shape, frames: helicsFrames, warmUp: warmUp(helicsFrames)))
            }
        }
        return point
    }

    private func warmUp(_ frames: Int) -> Int { max(1, min(100, frames / 10)) }

    /// As many as take the seconds wanted.
    private func frames(_ contestant: any BenchmarkContestant, _ shape: BenchmarkShape, trial: Int = trial) throws
        -> Int
    {
        if let frames = settings.frames { return frames }
        if settings.pacing.mode == .realtime { return max(10, Int(settings.seconds * Double(settings.pacing.rateHz))) }
        let mean = try contestant.measure(shape, frames: trial, warmUp: 20).times.mean
        return max(20, Int(min(settings.seconds * 1e6 / max(mean, 0.1), 1e8)))
    }

    /// Which way to wake processes is quicker depends on their number and on the machine.
    private func quickestFloor(_ shape: BenchmarkShape) throws -> FloorContestant {
        let candidates = [true, false].map {
            FloorContestant(bench: bench, pacing: settings.pacing, hasSemaphores: $0)
        }
        guard settings.pacing.mode == .afap else { return candidates[0] }
        let means = try candidates.map { try $0.measure(shape, frames: 500, warmUp: 50).times.mean }
        return means[1] < means[0] ? candidates[1] : candidates[0]
    }

    // MARK: Hosts of a configuration

    private func push(from root: String, _ calls: HostCalls) throws {
        let module = BenchmarkPrograms.moduleName
        let here = MachineState.architecture
        let pushed = calls.each { [console] call in
            guard call.welcome.machine.architecture == here else {
                throw HostTrouble(
                    "it is \(call.welcome.machine.architecture), and \(module) is built for \(here); run `hermes bench` "
                        + "from a machine of its kind")
            }
            var simulation = Simulation(baseDirectory: ByteString(root))
            simulation.modules = [
                Module(
                    name: "m", kind: .process, program: ByteString(module), host: call.host.name,
                    location: call.host.location)
            ]
            let failure = Monitor<String?>(nil)
            let push = FilePush(call: call, files: HostFiles(of: call.host.name, in: simulation)) { entry in
                if entry.deed == .failed { failure.with { $0 = entry.cause ?? "not copied" } }
                if entry.deed == .sent {
                    console.note(
                        "host \(call.host.name): \(module) is now beneath its module root, and stays there: remove it by "
                            + "hand when no benchmark is wanted any more")
                }
            }
            try push.run()
            if let cause = failure.with({ $0 }) { throw HostTrouble("\(module) could not be pushed: \(cause)") }
        }
        for (host, outcome) in zip(settings.hosts, pushed) {
            if case .failure(let trouble) = outcome {
                throw RunFailure(.lost, host: host.name, cause: trouble.cause)
            }
        }
    }

    // MARK: What to know

    private func remarks(_ result: BenchmarkResult) -> [String] {
        var remarks: [String] = []
        let machine = result.machine
        if machine.isBusy {
            remarks.append(
                "this machine is busy (\(decimals(machine.load, 2)) processes wanted its \(machine.cores) cores over the "
                    + "last minute): trust the ratios, and of the times at most p50")
        }
        if settings.hosts.isEmpty {
            let crowded = settings.shapes.filter { $0.processes > machine.cores }
            if let least = crowded.map(\.processes).min() {
                let which =
                    crowded.count == settings.shapes.count
                    ? "every shape here has"
                    : crowded.count == 1 ? "1 shape here has" : "\(crowded.count) shapes here have"
                remarks.append(
                    "\(which) more processes (\(least) and up) than this machine has cores (\(machine.cores)): they take "
                        + "turns, floor and Hermes alike")
            }
        }
        if settings.shapes.contains(where: { $0.hosts > 1 }) && settings.pacing.mode == .afap {
            remarks.append(
                settings.pacing.grant.map { "\($0) frame\($0 == 1 ? " is" : "s are") granted at a time" }
                    ?? "over hosts, some 20 ms of frames are granted at a time; --grant 1 for one step message a frame")
        }
        switch (result.counter, settings.hosts.isEmpty, settings.countsSystemCalls) {
        case (.strace, _, _):
            remarks.append(
                "system calls are counted by strace in runs of their own, which slows frames: nobody finds work ready there, "
                    + "so undisturbed frames make at most as many")
        case (.perf, _, _): break
        case (nil, false, _): remarks.append("system calls are not counted: the modules are on other hosts")
        case (nil, true, false): remarks.append("system calls are not counted with --quick or in realtime")
        case (nil, true, true):
            remarks.append(
                "system calls are not counted: neither `perf stat -e raw_syscalls:sys_enter` nor strace works here; "
                    + "the switches say how often somebody slept")
        }
        if let version = result.helicsVersion {
            remarks.append(
                "HELICS \(version) by its C interface: a federate process for each module, core type tcp on loopback, a "
                    + "publication for each signal, a time request a frame")
        }
        return remarks
    }
}

extension BenchmarkShape {
    var text: String {
        func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
        return "\(count(hosts, "host")), \(count(modules, "module"))\(hosts > 1 ? " on each" : ""), "
            + count(signals, "signal")
    }

    /// That take part in a frame on this machine: modules, nodes, and over hosts the coordinator.
    var processes: Int { hosts * modules + (hosts > 1 ? hosts + 1 : 1) }
}
