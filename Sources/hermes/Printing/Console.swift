import Glibc
import HermesModel
import Synchronization

/// Standard output for results, standard error for everything else. From any thread; lines never mix.
final class Console: Sendable {
    enum Verbosity: Int, Sendable { case quiet, normal, verbose }

    let verbosity: Verbosity
    let isTerminal = isatty(2) == 1
    /// True while a progress line stands unfinished on the terminal.
    private let hasOpenLine = Mutex(false)

    init(verbosity: Verbosity = .normal) { self.verbosity = verbosity }

    /// A result.
    func result(_ text: String) {
        hasOpenLine.withLock { open in
            clear(&open)
            Self.write(text + "\n", to: 1)
        }
    }

    func note(_ text: String) {
        if verbosity != .quiet { log(text) }
    }

    func detail(_ text: String) {
        if verbosity == .verbose { log(text) }
    }

    /// Shown whatever the verbosity.
    func warning(_ text: String) { log("hermes: \(text)") }
    func error(_ text: String) { log("hermes: error: \(text)") }
    func diagnostic(_ diagnostic: Diagnostic) { log(diagnostic.description) }

    func moduleLine(_ module: String, _ line: String) {
        if verbosity != .quiet { log("[\(module)] \(line)") }
    }

    /// Replaces the progress line on a terminal.
    func progress(_ text: String) {
        guard isTerminal, verbosity != .quiet else { return }
        hasOpenLine.withLock { open in
            // Cut at the right edge: a line that wraps can't be replaced.
            Self.write("\r\u{1B}[K\u{1B}[?7l" + text + "\u{1B}[?7h", to: 2)
            open = true
        }
    }

    private func log(_ text: String) {
        hasOpenLine.withLock { open in
            clear(&open)
            Self.write(text + "\n", to: 2)
        }
    }

    private func clear(_ open: inout Bool) {
        if open { Self.write("\r\u{1B}[K", to: 2) }
        open = false
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress! + sent, bytes.count - sent)
                if count > 0 { sent += count } else if errno != EINTR { return }
            }
        }
    }
}
