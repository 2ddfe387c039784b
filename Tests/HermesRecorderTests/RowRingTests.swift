import Dispatch
import Synchronization
import Testing

@testable import HermesRecorder

@Suite struct RowRingTests {
    @Test func itHoldsWhatItSaysAndNoMore() {
        let ring = RowRing(width: 3, bytes: 0)
        #expect(ring.capacity == 64)
        for row in 0..<64 as Range<UInt64> { #expect(ring.give { $0[0] = row }) }
        #expect(!ring.give { _ in Issue.record("a full ring takes no row") })
        var taken: [UInt64] = []
        ring.takeAll { taken.append($0[0]) }
        #expect(taken == Array(0..<64))
        ring.takeAll { _ in Issue.record("nothing is left") }
        #expect(ring.give { $0[0] = 64 })
        ring.takeAll { taken.append($0[0]) }
        #expect(taken.last == 64)
        #expect(RowRing(width: 2, bytes: 1 << 20).capacity == 1 << 16)
    }

    @Test(arguments: [1, 7, 1000]) func rowsPassFromThreadToThreadInOrderAndWhole(width: Int) {
        let rows: UInt64 = 50_000
        let ring = RowRing(width: width, bytes: 8 * width * 100), producer = DispatchGroup()
        DispatchQueue(label: "producer").async(group: producer) {
            for row in 0..<rows {
                while !ring.give({ memory in for column in 0..<width { memory[column] = row &* UInt64(column + 1) } }) {
                    ring.waitForRoom()
                }
            }
            ring.wake()
        }
        var next: UInt64 = 0, isWhole = true
        let limit = DispatchTime.now() + .seconds(30)
        while next < rows && isWhole && DispatchTime.now() < limit {
            ring.takeAll { memory in
                for column in 0..<width where memory[column] != next &* UInt64(column + 1) { isWhole = false }
                next += 1
            }
            if next < rows { ring.waitForRows(milliseconds: 20) }
        }
        #expect(isWhole && next == rows)
        #expect(producer.wait(timeout: limit) == .success)
    }
}
