import ArgumentParser
import FoundationEssentials
import HermesModel
import Testing

@testable import hermes

@Suite struct BenchmarkTests {
    @Test func listsAreNumbersEachOnce() throws {
        #expect(try BenchmarkShape.list("1,2,8", of: "--modules", most: 8) == [1, 2, 8])
        #expect(try BenchmarkShape.list("8,1,8", of: "--modules", most: 8) == [8, 1])
        #expect(try BenchmarkShape.list("7", of: "--modules", most: 8) == [7])
    }

    @Test(arguments: ["", ",", "1,", "0", "9", "-1", "1.0", "a", "1 2", "18446744073709551616"])
    func otherListsAreRefused(_ text: String) {
        #expect(throws: ValidationError.self) { try BenchmarkShape.list(text, of: "--modules", most: 8) }
    }

    @Test func shapesAreAllCombinations() {
        let shapes = BenchmarkShape.all(hosts: [1, 2], modules: [8], signals: [1, 100])
        #expect(
            shapes.map { [$0.hosts, $0.modules, $0.signals] } == [[1, 8, 1], [1, 8, 100], [2, 8, 1], [2, 8, 100]])
        #expect(shapes.map(\.processes) == [9, 9, 19, 19])
    }

    @Test func medians() {
        #expect(BenchmarkPoint.median([5, 1, 3]) == 3)
        #expect(BenchmarkPoint.median([5, 1, 3, 2]) == 2.5)
        #expect(BenchmarkPoint.median([]) == 0)
        #expect(BenchmarkPoint.median([1, nil, 3] as [Double?]) == nil)
        #expect(BenchmarkPoint.median([1, 2, 9] as [Double?]) == 2)
        // The rounds' own ratios: not that of the medians.
        #expect(BenchmarkPoint.ratio([10, 200, 30], [10, 100, 10]) == 2)
        #expect(BenchmarkPoint.ratio([1], []) == nil)
        #expect(BenchmarkPoint.ratio([1], [0]) == nil)
    }

    @Test func theLongestFrameIsThatOfAllRounds() {
        let rounds = [times(1), times(3), times(2)]
        #expect(BenchmarkPoint.times(rounds) == FrameTimes(mean: 20, p50: 2, p99: 200, p999: 2000, max: 30000))
        #expect(BenchmarkPoint.times([]) == nil)
    }

    @Test func reportsAreReadWhateverStandsBefore() throws {
        let report = BenchmarkReport(
            """
            sim: running
            [h0/m0_0] hermes-bench usage-module cpu_ns=1000000 switches=20 frames=10
            [h1/m1_0] hermes-bench usage-module cpu_ns=3000000 switches=20 frames=10
            [h0/m0_0] hermes-bench usage-node cpu_ns=500000 switches=10 frames=10
            hermes-bench times count=5 mean_ns=2000 p50_ns=1000 p99_ns=3000 p999_ns=4000 max_ns=5000
            hermes-bench
            hermes-bench-77: completed, 20 frames
            """)
        let measurement = try #require(report.measurement)
        #expect(measurement.times == FrameTimes(mean: 2, p50: 1, p99: 3, p999: 4, max: 5))
        #expect(measurement.framesPerSecond == 500_000)
        #expect(measurement.modulesCPU == 400 && measurement.nodesCPU == 50 && measurement.cpu == 450)
        #expect(measurement.switches == 5 && measurement.lateness == nil)
        #expect(BenchmarkReport("hermes-bench usage-module cpu_ns=1 switches=1 frames=1").measurement == nil)
        #expect(BenchmarkReport("hermes-bench times count=0 mean_ns=0").measurement == nil)
    }

    @Test func countersReadWhatTheyWereTold() {
        #expect(SystemCallCounter.perf.count("# started on\n\n1234,,raw_syscalls:sys_enter,5,100.00,,\n") == 1234)
        #expect(SystemCallCounter.perf.count("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n") == nil)
        #expect(
            SystemCallCounter.strace.count("    calls syscall\n-------- ---\n  7 read\n------- ---\n   29 total\n")
                == 29)
        #expect(SystemCallCounter.strace.count("") == nil)
    }

    @Test func aRingIsOverHostsOrOverModules() {
        var ring = RingConfiguration(
            shape: BenchmarkShape(hosts: 1, modules: 2, signals: 5), name: "b", hosts: [], warmUp: 3, mode: .afap,
            rateHz: 10, mirrors: .zeromq)
        let here = ring.text(program: "/a \"b\"/m")
        #expect(here.contains("src: m0_0.own.*, dst: m0_1.in.*") && here.contains("src: m0_1.own.*, dst: m0_0.in.*"))
        #expect(here.contains(#"executable: "/a \"b\"/m""#) && here.contains(#"args: ["5", "1", "3", "2"]"#))
        #expect(here.contains("mirrors: zeromq"))
        let location = SourceLocation(file: "", line: 1, column: 1)
        ring.hosts = ["x", "y", "z"].map {
            Host(name: $0, endpoint: "tcp://10.0.0.1:7600", key: "k", mirror: "tcp://10.0.0.2", location: location)
        }
        let there = ring.text(program: "m")
        #expect(there.contains("src: m0_1.own.*, dst: m1_1.in.*") && there.contains("src: m2_0.own.*, dst: m0_0.in.*"))
        #expect(there.contains(#""x": { endpoint: "tcp://10.0.0.1:7600", key: "k", mirror: "tcp://10.0.0.2" }"#))
    }

    @Test func onePointAndManyMakeAPicture() {
        for shapes in [
            BenchmarkShape.all(hosts: [1], modules: [1], signals: [1]),
            BenchmarkShape.all(hosts: Array(1...9), modules: [1, 2], signals: [1]),
        ] {
            let svg = BenchmarkPlot(result(shapes)).svg
            #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n"))
            #expect(!svg.contains("nan") && !svg.contains("inf"))
            #expect(svg.contains("A &lt;CPU&gt; &amp; more"))
            #expect(svg.contains(">hosts</text>") == (shapes.count > 1))
        }
    }

    @Test func whatIsNotKnownIsADash() {
        let lines = result(BenchmarkShape.all(hosts: [1], modules: [1], signals: [1])).text.split(separator: "\n")
        #expect(lines[4].split(separator: " ").suffix(3) == ["-", "-", "-"])
        #expect(lines.last == "Note: a remark.")
    }

    private func times(_ scale: Double) -> FrameTimes {
        FrameTimes(mean: 10 * scale, p50: scale, p99: 100 * scale, p999: 1000 * scale, max: 10000 * scale)
    }

    private func result(_ shapes: [BenchmarkShape]) -> BenchmarkResult {
        let settings = BenchmarkSettings(
            shapes: shapes, frames: nil, seconds: 1, rounds: 1,
            pacing: BenchmarkPacing(mode: .afap, rateHz: 1000, grant: nil, mirrors: .tcp), hosts: [], keyFile: nil,
            againstHelics: false,
            countsSystemCalls: false)
        var machine = MachineState()
        machine.processor = "A <CPU> & more"
        let points = shapes.map { shape in
            var point = BenchmarkPoint(shape: shape)
            point.hermes = [Measurement(times: times(Double(shape.hosts)))]
            point.floor = [Measurement(times: times(0.5))]
            return point
        }
        return BenchmarkResult(settings: settings, machine: machine, points: points, remarks: ["a remark"])
    }
}
