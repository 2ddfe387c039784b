import HermesModel
import Testing

@Suite struct RealtimeTests {
    @Test func modulesRunOneBelowTheThreadThatWaitsForThem() {
        #expect(Realtime().modulePriority == nil)
        #expect(Realtime(priority: 99).modulePriority == 98 && Realtime(priority: 2).modulePriority == 1)
        #expect(Realtime(priority: 1).modulePriority == 1, "there is nothing below")
    }

    @Test(arguments: [
        ([], ""), ([3], "3"), ([0, 1, 2, 3, 6], "0-3, 6"), ([0, 2, 4, 5], "0, 2, 4-5"), ([8191], "8191"),
    ])
    func cpusInWords(numbers: [Int], text: String) { #expect(CPUList.text(numbers) == text) }
}
