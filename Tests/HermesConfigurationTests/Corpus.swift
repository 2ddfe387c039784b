import Foundation
import HermesSystem

/// The files beside these tests. Desk holds the files that desk modules name.
enum Corpus {
    static func path(_ relative: String) -> ByteString {
        ByteString(Bundle.module.resourceURL!.appendingPathComponent(relative).path)
    }

    static func bytes(_ relative: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(fileURLWithPath: path(relative).description)))
    }

    /// The names of the YAML files in a folder, without the ending.
    static func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path(folder).description)
            .filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
    }
}
