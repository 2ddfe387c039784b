import HermesSystem
import Testing

@Suite struct ProcessArgumentsTests {
    @Test func areThoseOfThisProcess() {
        #expect(!ProcessArguments.all.isEmpty)
        #expect(ProcessArguments.all.map(\.text) == CommandLine.arguments)
        #expect(ProcessArguments.words == Array(ProcessArguments.all.dropFirst()))
    }
}
