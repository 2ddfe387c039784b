import Glibc
import HermesModel
import HermesSystem
import Synchronization

/// Standard output for results, standard error for everything else. From any thread; lines never mix.
final class Console: Sendable {
    enum Verbosity: Int, Sendable { case quiet, normal, verbose }

    let verbosity: Verbosity
    var isTerminal: Bool { Self.isErrorTerminal }

    private static let isErrorTerminal = isatty(2) == 1
    private static let errors = OutputStream()
    /// One stream where both are a terminal's: what goes there keeps its order.
    private static let results = isErrorTerminal && isatty(1) == 1 ? errors : OutputStream()
    /// Where signals arrive as bytes, and how many did.
    private static let signals = Atomic<Int32>(-1)
    private static let interrupts = Atomic<Int>(0)
    private static let hasDroppedResults = Atomic<Bool>(false)

    init(verbosity: Verbosity = .normal) { self.verbosity = verbosity }

    /// From now on nothing waits for whoever reads the output. Only after the last fork.
    /// - Parameter signals: read end of the pipe that signals arrive in, should they arrive while `finish` waits.
    func writeInBackground(signals: Int32) throws(SystemError) {
        Self.signals.store(signals, ordering: .relaxed)
        try Self.errors.writeInBackground()
        try Self.results.writeInBackground()
    }

    /// Somebody wants this process to end; after the second time nobody waits long for its output either.
    func interrupted() { Self.interrupts.add(1, ordering: .relaxed) }

    /// Writes what still waits. False, and said, when results could not be written.
    static func finish() -> Bool {
        var reason: String?
        if !results.flush(isHurried: isHurried) {
            reason = "nobody takes them"
        } else if let code = results.failure(of: 1) {
            reason = String(cString: strerror(code))
        } else if hasDroppedResults.load(ordering: .relaxed) {
            reason = "they are read too slowly"
        }
        if let reason { Console().error("results could not be written: \(reason)") }
        _ = errors.flush(isHurried: isHurried)
        return reason == nil
    }

    private static func isHurried() -> Bool {
        let signals = signals.load(ordering: .relaxed)
        var number: UInt8 = 0
        while signals >= 0, read(signals, &number, 1) == 1 { interrupts.add(1, ordering: .relaxed) }
        return interrupts.load(ordering: .relaxed) >= 2
    }

    /// A result.
    func result(_ text: String) {
        if !Self.results.line(text, to: 1, limit: OutputStream.bound) {
            Self.hasDroppedResults.store(true, ordering: .relaxed)
        }
    }

    func note(_ text: String) {
        if verbosity != .quiet { log(text, limit: OutputStream.bound) }
    }

    func detail(_ text: String) {
        if verbosity == .verbose { log(text, limit: OutputStream.bound) }
    }

    /// Shown whatever the verbosity.
    func warning(_ text: String) { log("hermes: \(text)") }
    func error(_ text: String) { log("hermes: error: \(text)") }
    func diagnostic(_ diagnostic: Diagnostic) {
        // What an option says has no line.
        let option = diagnostic.location.file
        guard option.hasPrefix("--") else { return log(diagnostic.description) }
        log("hermes: \(diagnostic.severity.rawValue): \(option): \(diagnostic.message)")
    }

    func moduleLine(_ module: String, _ line: String) {
        guard verbosity != .quiet else { return }
        // Of a line end in the manner of other systems half is left.
        let shown = line.unicodeScalars.last == "\r" ? String(line.unicodeScalars.dropLast()) : line
        Self.errors.moduleLine("[\(module)] \(shown)")
    }

    /// Replaces the progress line on a terminal.
    func progress(_ text: String) {
        if isTerminal, verbosity != .quiet { Self.errors.progress(text) }
    }

    /// Our own words have room behind what modules wrote.
    private func log(_ text: String, limit: Int = 2 * OutputStream.bound) {
        Self.errors.line(text, to: 2, limit: limit)
    }
}
