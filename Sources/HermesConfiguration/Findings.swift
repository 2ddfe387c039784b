import HermesModel
import HermesSystem

/// Collects what is wrong with one configuration, so that one pass reports everything.
final class Findings {
    private let file: String
    private var diagnostics: [Diagnostic] = []
    private(set) var hasErrors = false
    private var nearNames = NearNames()

    init(file: String) {
        self.file = file
    }

    func location(_ mark: Mark) -> SourceLocation {
        SourceLocation(file: file, line: mark.line, column: mark.column)
    }

    func error(_ mark: Mark, _ message: String) {
        error(location(mark), message)
    }

    func error(_ location: SourceLocation, _ message: String) {
        diagnostics.append(Diagnostic(.error, at: location, message))
        hasErrors = true
    }

    func warning(_ mark: Mark, _ message: String) {
        diagnostics.append(Diagnostic(.warning, at: location(mark), message))
    }

    /// The candidate `name` was likely meant to be, as long as the file has not had a great many wrong names.
    func nearest(to name: String, among candidates: some Collection<String>) -> String? {
        nearNames.nearest(to: name, among: candidates)
    }

    /// "; did you mean `x`?", or "".
    func suggestion(for name: String, among candidates: some Collection<String>) -> String {
        nearest(to: name, among: candidates).map { question(name, $0) } ?? ""
    }

    /// "; did you mean `x`?", and how the two are spelt where that can't be seen.
    func question(_ name: String, _ near: String) -> String {
        "; did you mean \(quoted(near))?\(spelling(of: near, besides: name))"
    }

    /// "; did you mean `x`?" for a missing file, among what stands in its folder; or "".
    func suggestion(forMissing path: ByteString) -> String {
        if nearNames.isExhausted { return "" }
        let (name, others) = FileKind.neighbours(of: path)
        // Reading a folder costs more than comparing names, even when it is empty.
        nearNames.spend(1_000)
        return suggestion(for: name, among: others)
    }

    /// All findings in file order, each once: what is reached through several aliases is still one fault.
    var sorted: [Diagnostic] {
        var seen: Set<Diagnostic> = []
        return diagnostics.enumerated()
            .sorted { ($0.element.location, $0.offset) < ($1.element.location, $1.offset) }
            .map(\.element)
            .filter { seen.insert($0).inserted }
    }
}

/// Text from the file, for a message of one line: in backquotes, control characters escaped, cut when long.
func quoted(_ text: String) -> String {
    var shown = ""
    for (count, scalar) in text.unicodeScalars.enumerated() {
        if count == 80 {
            shown += "..."
            break
        }
        if isControl(scalar) {
            shown += scalar.escaped(asASCII: true)
        } else {
            shown.unicodeScalars.append(scalar)
        }
    }
    return "`\(shown)`"
}

func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029: true
    default: false
    }
}
