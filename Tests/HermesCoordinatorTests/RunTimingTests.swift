import Foundation
import HermesModel
import HermesProtocol
import HermesTiming
import Testing

@testable import HermesCoordinator

@Suite struct RunTimingTests {
    private func durations(_ all: UInt64...) -> Durations {
        var recorder = DurationRecorder()
        for each in all { recorder.record(each) }
        return recorder.durations
    }

    private func host(_ name: String, _ slowest: SlowFrame...) -> HostTimes {
        let module = HostTimes.Module(
            name: "of_\(name)", execute: durations(1000), start: durations(2000, 4000), wait: 0)
        return HostTimes(
            host: name, frame: durations(5000), execute: durations(1000), network: durations(3000),
            wait: durations(1000), modules: [module], peers: [], slowest: slowest)
    }

    private func slow(
        _ frame: UInt64, _ time: UInt64, network: UInt64 = 0, step: UInt64 = 0, module: String? = nil,
        peer: String? = nil, epoch: UInt32 = 0
    ) -> SlowFrame {
        SlowFrame(
            epoch: epoch, frame: frame, time: time, network: network, step: step, module: module, patience: network,
            peer: peer)
    }

    @Test func theLongestStepOfTheWorstFrameIsTheCulprit() throws {
        let worst = try #require(
            RunTiming.WorstFrame(
                [
                    host("desk", slow(9, 5_000_000, step: 4_000_000, module: "slow"), slow(1, 100)),
                    host("bench", slow(3, 900_000, step: 800_000, module: "other")),
                ], nil))
        #expect(worst.frame == 9 && worst.time_us == 5000 && worst.part == .execute)
        #expect(worst.host == "desk" && worst.module == "slow")
    }

    @Test func whoWaitedIsNotToBlame() throws {
        let told = [
            host("desk", slow(7, 5_000_000, network: 4_900_000, step: 50_000, module: "a", peer: "bench")),
            host("bench", slow(7, 4_950_000, network: 4_800_000, step: 70_000, module: "b", peer: "rack")),
            host("rack", slow(7, 4_700_000, step: 4_600_000, module: "c"), slow(8, 1)),
        ]
        let worst = try #require(RunTiming.WorstFrame(told, nil))
        #expect(worst.part == .execute && worst.host == "rack" && worst.module == "c" && worst.frame == 7)
        // Rack was lost: all that is known is that it was waited for.
        let less = try #require(RunTiming.WorstFrame(Array(told.dropLast()), nil))
        #expect(less.part == .network && less.host == "rack" && less.module == nil)
    }

    @Test func twoThatWaitForEachOtherEnd() throws {
        let told = [
            host("desk", slow(7, 5_000_000, network: 4_900_000, module: "a", peer: "bench")),
            host("bench", slow(7, 4_900_000, network: 4_800_000, module: "b", peer: "desk")),
        ]
        let worst = try #require(RunTiming.WorstFrame(told, nil))
        #expect(worst.part == .network && worst.host == "bench")
    }

    @Test func aSlowCoordinatorIsNamed() throws {
        var turns = TurnTimes()
        turns.record(
            began: 0, advancing: 0, advanced: 1000, ended: 9_000_000, last: 4, count: 1, granted: 4, epoch: 2)
        let worst = try #require(RunTiming.WorstFrame([host("desk", slow(1, 5000, step: 4000, module: "m"))], turns))
        #expect(worst.part == .coordinator && worst.frame == 4 && worst.epoch == 2 && worst.module == nil)
        #expect(worst.time_us == 9000)
        let slower = try #require(
            RunTiming.WorstFrame([host("desk", slow(1, 9_500_000, step: 9_400_000, module: "m"))], turns))
        #expect(slower.part == .execute && slower.module == "m")
    }

    @Test func whoWaitedForADeskHeldUpBetweenGrantsWaitedForTheCoordinator() throws {
        var turns = TurnTimes()
        // Frames 1 to 10 are shown for 8 ms while the hosts are at 11 to 20; they come to 21 and wait for the desk.
        turns.record(
            began: 0, advancing: 0, advanced: 1_000_000, ended: 9_000_000, last: 10, count: 10, granted: 20, epoch: 0)
        func worst(_ frame: UInt64, _ desk: SlowFrame...) throws -> RunTiming.WorstFrame {
            let rack = host("rack", slow(frame, 8_050_000, network: 8_000_000, step: 10_000, module: "r", peer: "desk"))
            var own = host("desk")
            own.slowest = desk
            return try #require(RunTiming.WorstFrame([own, rack], turns))
        }
        let held = try worst(21)
        #expect(held.part == .coordinator && held.frame == 10 && held.host == "desk" && held.time_us == 8100)
        let other = try worst(22)
        #expect(other.part == .network && other.host == "desk" && other.frame == 22)
        let module = try worst(21, slow(21, 8_000_000, step: 7_900_000, module: "d"))
        #expect(module.part == .execute && module.module == "d")
    }

    @Test func framesGrantedTogetherShareAlike() {
        var turns = TurnTimes()
        turns.record(
            began: 1000, advancing: 1100, advanced: 9000, ended: 11_000, last: 10, count: 10, granted: 20, epoch: 0)
        turns.record(
            began: 11_000, advancing: 11_000, advanced: 11_000, ended: 11_000, last: 10, count: 0, granted: 20,
            epoch: 0)
        #expect(turns.frame.durations.count == 10 && turns.frame.durations.total == 10_000)
        #expect(turns.coordinator.durations.total == 2100)
        #expect(turns.slowest.sorted.map(\.time) == [2100])
    }

    @Test func everyKeyIsThereAndWhoDidNotTellIsNamed() throws {
        let timing = RunTiming([host("desk")], nil, pacer: nil, hosts: ["desk", "rack"])
        let keys = try #require(
            try JSONSerialization.jsonObject(with: JSONEncoder().encode(timing)) as? [String: Any])
        #expect(
            Set(keys.keys) == [
                "lateness", "wake_up", "step_start", "execute", "wait", "network", "coordinator", "frame",
                "worst_frame",
                "module_starts", "missing_hosts",
            ])
        #expect(keys["lateness"] is NSNull && keys["worst_frame"] is NSNull && keys["frame"] is NSNull)
        #expect(keys["missing_hosts"] as? [String] == ["rack"])
        let starts = try #require(keys["module_starts"] as? [[String: Any]])
        #expect(starts.count == 1 && starts[0]["module"] as? String == "of_desk" && starts[0]["max"] as? Double == 4)
    }
}
