import FoundationEssentials
import Glibc
import HermesCoordinator
import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

/// How frames follow each other in all that is measured.
struct BenchmarkPacing: Sendable {
    /// `afap` or `realtime`.
    var mode: Execution.Mode
    /// In realtime.
    var rateHz: Int
    /// Frames granted at once; nil: as Hermes likes.
    var grant: UInt64?
    /// What carries signals between hosts.
    var mirrors: MirrorTransport
}

/// Somebody who can run frames of a shape.
protocol BenchmarkContestant {
    /// - Parameters:
    ///   - frames: measured, behind `warmUp` frames that are not.
    /// - Throws: `RunFailure` when it fails, `ExitCode` 130 when a signal comes.
    func measure(_ shape: BenchmarkShape, frames: Int, warmUp: Int) throws -> Measurement
}

/// Seconds to wait for the end of `frames` frames: some thousand times what they take, when nothing hangs.
private func patience(_ frames: Int, _ pacing: BenchmarkPacing) -> Double {
    60 + Double(frames) * (pacing.mode == .realtime ? 2 / Double(pacing.rateHz) + 0.02 : 0.02)
}

/// `hermes run`, as users run it.
struct HermesContestant: BenchmarkContestant {
    let bench: BenchmarkPlace
    /// Those that take part, in order; none: everything runs at the desk.
    let hosts: [Host]
    let pacing: BenchmarkPacing
    let keyFile: ByteString?
    /// Processor seconds of a coordinator for starting and ending a run; of shapes on named hosts.
    var startSeconds: Double?

    /// The command, and the file it leaves its summary in.
    func command(_ shape: BenchmarkShape, frames: Int, warmUp: Int) throws -> [String] {
        let isAtDesk = hosts.isEmpty
        let ring = RingConfiguration(
            shape: shape, name: "hermes-bench-\(getpid())", hosts: Array(hosts.prefix(isAtDesk ? 0 : shape.hosts)),
            warmUp: warmUp, mode: pacing.mode, rateHz: pacing.mode == .realtime ? pacing.rateHz : 1000,
            mirrors: pacing.mirrors)
        let program = isAtDesk ? bench.programs.module : BenchmarkPrograms.moduleName
        let file = try bench.folder.write(ring.text(program: program), to: "ring.yaml")
        unlink("\(bench.folder.path)/summary.json")
        let key = keyFile.map { ["--key", $0.encodedText] } ?? []
        let grant = isAtDesk ? [] : pacing.grant.map { ["--grant", "\($0)"] } ?? []
        return [
            bench.programs.hermes, "run", file, "--frames", "\(frames + warmUp)", "--summary",
            "\(bench.folder.path)/summary.json",
        ] + key + grant
    }

    func measure(_ shape: BenchmarkShape, frames: Int, warmUp: Int) throws -> Measurement {
        let ended = try bench.run(
            command(shape, frames: frames, warmUp: warmUp), called: "hermes run",
            withinSeconds: patience(frames + warmUp, pacing))
        guard var measurement = BenchmarkReport(ended.errors).measurement else {
            throw RunFailure(.protocolError, cause: "the modules told no times: \(ended.lastWords)")
        }
        let summary = try? JSONDecoder().decode(RunSummary.self, from: Data(bench.folder.read("summary.json").utf8))
        measurement.lateness = summary?.lateness_us.map {
            FrameTimes(mean: $0.p50, p50: $0.p50, p99: $0.p99, p999: $0.p999, max: $0.max)
        }
        if let startSeconds, !hosts.isEmpty {
            measurement.coordinatorCPU = max(0, ended.cpuSeconds - startSeconds) / Double(frames + warmUp) * 1e6
        }
        return measurement
    }

    /// What a coordinator takes without frames, near enough.
    func measureStart(_ shape: BenchmarkShape) throws -> Double {
        try bench.run(command(shape, frames: 2, warmUp: 0), called: "hermes run", withinSeconds: 60).cpuSeconds
    }
}

/// Bare processes on this machine: the floor.
struct FloorContestant: BenchmarkContestant {
    let bench: BenchmarkPlace
    let pacing: BenchmarkPacing
    /// A semaphore for each process, or one futex for all.
    let hasSemaphores: Bool

    func name(_ shape: BenchmarkShape) -> String {
        let wake = hasSemaphores ? "semaphores" : "one futex"
        return shape.hosts > 1 ? "TCP swap, \(wake)" : wake
    }

    func measure(_ shape: BenchmarkShape, frames: Int, warmUp: Int) throws -> Measurement {
        let kind = shape.hosts > 1 ? ["swap", "\(shape.hosts)"] : ["local"]
        let numbers = [
            shape.modules, shape.signals, frames, warmUp, pacing.mode == .realtime ? pacing.rateHz : 0,
            hasSemaphores ? 1 : 0,
        ]
        let ended = try bench.run(
            [bench.programs.module] + kind + numbers.map(String.init), called: "the floor",
            withinSeconds: patience(frames + warmUp, pacing))
        guard let measurement = BenchmarkReport(ended.output).measurement else {
            throw RunFailure(.protocolError, cause: "the floor told no times: \(ended.lastWords)")
        }
        return measurement
    }
}

/// The round trip of a message to the slowest of some hosts, there and back: what no frame over them that waits for an
/// answer can go below by more than half.
struct RoundTripContestant: BenchmarkContestant {
    static let pings = 200
    let calls: HostCalls

    func measure(_ shape: BenchmarkShape, frames: Int, warmUp: Int) throws -> Measurement {
        let answers = calls.each { call -> [Double] in
            guard call.index < shape.hosts else { return [] }
            return try (0..<Self.pings).map { _ in
                let begin = monotonicNow()
                let _: Pong = try call.ask("ping", ControlMessage.Nothing(), seconds: HostCall.meetingSeconds)
                return Double(monotonicNow() - begin) / 1e3
            }
        }
        var slowest: FrameTimes?
        for answer in answers {
            let trips: [Double]
            switch answer {
            case .success(let seen): trips = seen.sorted()
            case .failure(let trouble): throw RunFailure(.lost, cause: trouble.cause)
            }
            guard !trips.isEmpty else { continue }
            func at(_ share: Double) -> Double { trips[min(trips.count - 1, Int(share * Double(trips.count)))] }
            let times = FrameTimes(
                mean: trips.reduce(0, +) / Double(trips.count), p50: at(0.5), p99: at(0.99), p999: at(0.999),
                max: trips[trips.count - 1])
            if slowest.map({ $0.p50 < times.p50 }) ?? true { slowest = times }
        }
        guard let slowest else { throw RunFailure(.lost, cause: "no host answered") }
        return Measurement(times: slowest)
    }
}
