import Foundation
import Testing

/// docs/segment.md says where every byte is; the C compiler knows.
@Suite struct SegmentDocumentTests {
    private struct Row {
        var offset: Int
        var type, field: String
        private static let sizes = ["u8": 1, "u16": 2, "u32": 4, "i32": 4, "u64": 8, "f64": 8]
        /// Bytes, 0 for a type that the page should not use.
        var size: Int {
            let parts = type.split(whereSeparator: { "[]".contains($0) }).map(String.init)
            return (Self.sizes[parts[0]] ?? 0) * (parts.count > 1 ? Int(parts[1]) ?? 0 : 1)
        }
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// Each heading "`struct`, N bytes" and the rows of its table.
    private func tables() throws -> [(structure: String, size: Int, rows: [Row])] {
        var tables: [(structure: String, size: Int, rows: [Row])] = []
        let page = try String(contentsOfFile: "\(Self.root)/docs/segment.md", encoding: .utf8)
        for line in page.split(separator: "\n") {
            if line.hasPrefix("### `hermes_") {
                let words = line.split(whereSeparator: { " `,".contains($0) }).map(String.init)
                tables.append((words[1], try #require(Int(words[2])), []))
            }
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard line.hasPrefix("| "), cells.count >= 4, cells[2].hasPrefix("`"), let offset = Int(cells[0]) else {
                continue
            }
            tables[tables.count - 1].rows.append(
                Row(offset: offset, type: cells[1], field: String(cells[2].dropFirst().dropLast())))
        }
        return tables
    }

    @Test func everyByteOfEveryStructureIsThere() throws {
        let tables = try tables()
        #expect(tables.count == 11)
        for table in tables {
            var end = 0
            for row in table.rows {
                #expect(row.offset == end, "\(table.structure).\(row.field)")
                #expect(row.size > 0, "\(table.structure).\(row.field) has the type \(row.type)")
                end = row.offset + row.size
            }
            #expect(end == table.size, "\(table.structure)")
        }
    }

    @Test func offsetsAndSizesAreTheCompilers() throws {
        var source = "#include <hermes/segment.h>\n#include <stddef.h>\n"
        for table in try tables() {
            source += "_Static_assert(sizeof(\(table.structure)) == \(table.size), \"\(table.structure)\");\n"
            for row in table.rows {
                let field = "\(table.structure).\(row.field)"
                source += "_Static_assert(offsetof(\(table.structure), \(row.field)) == \(row.offset), \"\(field)\");\n"
                source +=
                    "_Static_assert(sizeof(((\(table.structure) *)0)->\(row.field)) == \(row.size), \"\(field)\");\n"
            }
        }
        let compiler = Process(), input = Pipe(), output = Pipe()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        compiler.arguments = ["cc", "-std=c11", "-fsyntax-only", "-I\(Self.root)/include", "-x", "c", "-"]
        compiler.standardInput = input
        compiler.standardError = output
        try compiler.run()
        input.fileHandleForWriting.write(Data(source.utf8))
        try input.fileHandleForWriting.close()
        let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        compiler.waitUntilExit()
        #expect(compiler.terminationStatus == 0, "\(said)")
    }
}
