import Foundation
import HermesModel
import Testing

@testable import HermesConfiguration

private let documentation = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("docs")

/// docs/hermes.schema.json, which editors use, has the reader's keys and no others.
@Suite struct SchemaTests {
    private let schema: [String: Any]

    init() throws {
        let data = try Data(contentsOf: documentation.appendingPathComponent("hermes.schema.json"))
        schema = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    private func object(_ path: String...) throws -> [String: Any] {
        try path.reduce(schema) { try #require($0[$1] as? [String: Any], "no `\($1)`") }
    }

    @Test func keys() throws {
        let mappings: [(KeySet, [String: Any])] = try [
            (.simulation, schema), (.host, object("$defs", "host")), (.module, object("$defs", "module")),
            (.signal, object("$defs", "signal")), (.wire, object("$defs", "wire")),
            (.execution, object("$defs", "execution")), (.realtime, object("$defs", "realtime")),
            (.realtimeCPUs, object("$defs", "realtimeCPUs")),
            (.server, object("$defs", "server")),
        ]
        for (keySet, mapping) in mappings {
            let properties = try #require(mapping["properties"] as? [String: [String: Any]])
            #expect(Set(properties.keys) == Set(keySet.keys), "\(keySet.owner)")
            #expect(mapping["additionalProperties"] as? Bool == false, "\(keySet.owner)")
            #expect(properties.values.allSatisfy { $0["description"] is String }, "\(keySet.owner)")
        }
        #expect(
            try object("$defs").filter { ($0.value as? [String: Any])?["properties"] != nil }.count == mappings.count
                - 1)
    }

    @Test func words() throws {
        func words(_ definition: String, _ key: String) throws -> [String] {
            try #require(try object("$defs", definition, "properties", key)["enum"] as? [String])
        }
        #expect(try words("module", "type") == ["process", "inproc", "script"])
        #expect(try words("signal", "type") == ["f64", "f32", "i64", "i32", "bool"])
        #expect(try words("execution", "mode") == ["realtime", "afap", "single_frame"])
        #expect(try words("execution", "on_module_error") == ErrorPolicy.allCases.map(\.rawValue))
        #expect(try words("module", "on_module_error") == ErrorPolicy.allCases.map(\.rawValue))
        #expect(try words("realtime", "on_overrun") == OverrunPolicy.allCases.map(\.rawValue))
        #expect(try object("properties", "version")["const"] as? String == SimulationDecoder.version)
    }
}

/// The configurations in docs/configuration.md are right but for the files they name, and every key is explained there.
@Suite struct DocumentationTests {
    private let page: String

    init() throws {
        page = try String(contentsOf: documentation.appendingPathComponent("configuration.md"), encoding: .utf8)
    }

    @Test func examples() throws {
        let blocks = page.components(separatedBy: "```").filter { $0.hasPrefix("yaml\nversion") }
        #expect(blocks.count == 2)
        for block in blocks {
            let error = try #require(throws: ConfigurationError.self) {
                try ConfigurationReader.parse(
                    text: Array(block.dropFirst(5).utf8), file: "doc", baseDirectory: Corpus.path("Desk/folder"))
            }
            #expect(error.diagnostics.allSatisfy { $0.message.contains("does not exist") }, "\(error)")
        }
    }

    @Test func keys() {
        let all: [KeySet] = [
            .simulation, .host, .module, .signal, .wire, .execution, .realtime, .realtimeCPUs, .server,
        ]
        for keySet in all {
            for key in keySet.keys { #expect(page.contains("`\(key)`"), "\(keySet.owner)") }
        }
    }
}
