import Foundation
import HermesModel
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesNode

@Suite(.serialized) struct FrameTimesTests {
    @Test func everyStepOfEveryModuleCounts() throws {
        let bench = try Bench(
            [.inproc("inside"), .process("outside"), .process("rare", divisor: 4)],
            schedule: [["inside"], ["outside", "rare"]])
        try bench.stage()
        #expect(bench.node.hostTimes[0].frame.counts.isEmpty, "nothing of the start counts")
        try bench.step(1...40)
        let told = try #require(bench.node.hostTimes.first)
        #expect(told.host == "desk" && told.modules.map(\.name) == ["inside", "outside", "rare"])
        #expect(told.frame.count == 40 && told.execute.count == 40 && told.wait.count == 40)
        #expect(told.network.count == 0, "there is no other host")
        #expect(told.modules.map(\.execute.count) == [40, 40, 10] && told.modules.map(\.start.count) == [40, 40, 10])
        #expect(told.execute.total + told.wait.total == told.frame.total)
        #expect(told.modules[0].execute.total <= told.execute.total)
        #expect(told.slowest.count == 8 && told.slowest[0].time == told.frame.longest)
        #expect(told.slowest.allSatisfy { $0.module != nil && $0.peer == nil && $0.step <= $0.time })
        #expect(bench.end() == [])
    }

    @Test func startsCountFromWhatWasDue() throws {
        let bench = try Bench([.process("outside")])
        try bench.stage()
        bench.node.expectStart(at: monotonicNow() - 3_000_000_000)
        try bench.step(1...1)
        bench.node.expectStart(at: 0)
        try bench.step(2...2)
        let start = bench.node.hostTimes[0].modules[0].start
        #expect(start.longest >= 3_000_000_000 && start.percentile(50) < 3_000_000_000)
        #expect(bench.end() == [])
    }

    @Test func aFrameThatDoesNotCompleteCountsNowhere() throws {
        let bench = try Bench([.inproc("inside"), .process("outside", trouble: "fail step 3")])
        try bench.stage()
        #expect(throws: RunFailure.self) { try bench.step(1...5) }
        let told = bench.node.hostTimes[0]
        #expect(told.frame.count == 2 && told.modules.allSatisfy { $0.execute.count == 2 })
        _ = bench.end()
    }
}
