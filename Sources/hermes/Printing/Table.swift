import HermesSystem

/// Columns side by side, two spaces between them, a line for each row.
struct Table {
    var header: [String]
    var rows: [[String]]

    var text: String {
        let lines = (header.isEmpty ? [] : [header]) + rows.map { $0.map(PrintableText.line) }
        let columns = lines.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in lines.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        return lines.map { Self.line($0, widths) }.joined(separator: "\n")
    }

    private static func line(_ cells: [String], _ widths: [Int]) -> String {
        var text = ""
        for (cell, width) in zip(cells, widths) {
            text += cell + String(repeating: " ", count: width - cell.count + 2)
        }
        while text.last == " " { text.removeLast() }
        return text
    }
}
