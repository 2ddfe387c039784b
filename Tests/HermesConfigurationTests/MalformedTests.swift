import Foundation
import HermesModel
import Testing

@testable import HermesConfiguration

/// Each Malformed/NAME.yaml is refused with exactly the lines of NAME.expected.
@Suite struct MalformedTests {
    @Test(arguments: try Corpus.names(in: "Malformed"))
    func isRefused(name: String) throws {
        let text = try Corpus.bytes("Malformed/\(name).yaml")
        let expected = String(decoding: try Corpus.bytes("Malformed/\(name).expected"), as: UTF8.self)
        var found = ""
        do {
            _ = try ConfigurationReader.parse(text: text, file: "\(name).yaml", baseDirectory: Corpus.path("Desk"))
        } catch let error as ConfigurationError {
            found = "\(error)\n"
            #expect(error.diagnostics.contains { $0.severity == .error })
            #expect(error.diagnostics.map(\.location) == error.diagnostics.map(\.location).sorted())
        }
        #expect(found == expected)
    }

    @Test func hasACorpus() throws {
        #expect(try Corpus.names(in: "Malformed").count >= 70)
    }
}
