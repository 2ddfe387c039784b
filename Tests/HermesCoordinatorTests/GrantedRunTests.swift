import Testing

@testable import HermesCoordinator

/// A run of frames 11 to 13 that the desk, with one value a frame, host 1 with two, and host 2 with none were granted.
@Suite struct GrantedRunTests {
    var run = GrantedRun(widths: [1, 2, 0])

    init() { run.begin(11, 3) }

    /// Takes a host's done of `count` frames, with these values.
    mutating func take(_ host: Int, _ count: Int, _ values: [UInt64]) -> Bool {
        values.withUnsafeBytes { run.take(host: host, count: count, $0) }
    }

    /// The whole table after a frame's values of all hosts were copied, where hosts have slots 4, 0 and 2, and none.
    mutating func table(_ frame: UInt64) -> [UInt64] {
        var table: [UInt64] = [9, 9, 9, 9, 9]
        table.withUnsafeMutableBufferPointer { table in
            for (host, places) in [[4], [0, 2], []].enumerated() {
                run.copy(frame, host: host, to: table.baseAddress!, at: places)
            }
        }
        return table
    }

    @Test mutating func rowsOfAllHostsMakeFrames() {
        #expect(run.last == 13 && !run.isDone && run.completed == 0)
        #expect([10, 11, 13, 14].map(run.contains) == [false, true, true, false])
        for value: UInt64 in [100, 200, 300] {
            [0, 0, value].withUnsafeBufferPointer { run.take(host: 0, from: $0.baseAddress!, at: [2]) }
        }
        #expect(take(2, 3, []) && !run.isDone)
        #expect(take(1, 3, [1, 2, 3, 4, 5, 6]) && run.isDone && run.completed == 3)
        #expect(table(11) == [1, 9, 2, 9, 100])
        #expect(table(13) == [5, 9, 6, 9, 300])
    }

    @Test mutating func aHostThatFailsHasDoneFewer() {
        #expect(take(0, 3, [1, 2, 3]) && take(2, 3, []) && take(1, 1, [7, 8]))
        #expect(run.completed == 1 && !run.isDone && run.done == [3, 1, 3])
        #expect(table(11) == [7, 9, 8, 9, 1])
        #expect(take(1, 0, []) && run.completed == 0)
    }

    @Test(arguments: [(1, 3, 5), (1, 3, 7), (1, 4, 8), (2, 3, 1), (2, 4, 0), (1, 0, 1)])
    mutating func whatDoesNotFit(host: Int, count: Int, values: Int) {
        #expect(!take(host, count, Array(repeating: 1, count: values)))
        #expect(run.done == [0, 0, 0])
    }

    @Test mutating func theNextRunMayBeLonger() {
        #expect(take(1, 3, [1, 2, 3, 4, 5, 6]))
        run.begin(14, 1000)
        #expect(run.done == [0, 0, 0] && run.last == 1013 && !run.contains(13))
        #expect(take(1, 1000, (0..<2000).map { $0 }) && take(0, 1000, (0..<1000).map { $0 }))
        #expect(table(1013) == [1998, 9, 1999, 9, 999])
    }

    @Test mutating func noneIsGranted() {
        run.begin(0, 0)
        #expect(!run.contains(0) && !run.contains(11) && run.isDone)
    }
}

@Suite struct GrantTests {
    @Test func fixedGrantsStayAsTheyAre() {
        var grant = Grant(fixed: 7, width: 3)
        grant.took(1, frames: 7)
        #expect(grant.frames == 7 && grant.runsAhead)
        #expect(!Grant(fixed: 1, width: 3).runsAhead, "each frame is waited for")
        #expect(Grant(fixed: 5000, width: 3).frames == 1024)
    }

    @Test func grantsGrowToTenMillisecondsAtMostTwiceAsLongEachTime() {
        var grant = Grant(fixed: nil, width: 1), sizes: [UInt64] = []
        for _ in 0..<12 {
            sizes.append(grant.frames)
            grant.took(grant.frames * 50_000, frames: grant.frames)
        }
        #expect(sizes == [1, 2, 4, 8, 16, 32, 64, 128, 200, 200, 200, 200] && grant.runsAhead)
        grant.took(200 * 20_000_000, frames: 200)
        #expect(grant.frames == 1, "slow frames come alone")
        grant.took(0, frames: 0)
        #expect(grant.frames == 1)
    }

    @Test(arguments: [(1, 1024), (256, 1024), (2560, 102), (1 << 18, 1), (1 << 23, 1)])
    func neverMoreThanTwoMebibytesOfRows(width: Int, most: UInt64) {
        var grant = Grant(fixed: nil, width: width)
        for _ in 0..<20 { grant.took(1, frames: grant.frames) }
        #expect(grant.frames == most && Grant(fixed: 1024, width: width).frames == most)
    }
}
