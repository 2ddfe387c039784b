import Glibc
import HermesSystem
import Synchronization

/// Lines for the people who run a node, on standard error: what happens, each in one line. Nobody who reads them too slowly
/// holds a node up: what would have to wait is dropped, and counted.
public struct NodeLog: Sendable {
    public enum Level: Int, Sendable { case quiet, normal, verbose }
    private let level: Level
    private static let dropped = Mutex(0)
    /// Bytes of the longest line; a pipe that can be written at all takes so many at once.
    private static let longest = 4000

    public init(_ level: Level) { self.level = level }

    public func note(_ text: String) { if level != .quiet { write(text) } }
    public func detail(_ text: @autoclosure () -> String) { if level == .verbose { write(text()) } }
    public func warning(_ text: String) { write("warning: \(text)") }
    /// It ends the program.
    public func error(_ text: String) { write("error: \(text)") }

    private func write(_ text: String) {
        Self.dropped.withLock { dropped in
            if dropped > 0, Self.put("\(dropped) lines of this log dropped: standard error is read too slowly") {
                dropped = 0
            }
            if dropped > 0 || !Self.put(text) { dropped += 1 }
        }
    }

    /// False when it would have to wait.
    private static func put(_ text: String) -> Bool {
        var ready = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
        guard poll(&ready, 1, 0) == 1 else { return false }
        // Some of it may come from strangers: one line stays one line.
        let printable = PrintableText.line(text).utf8.prefix(longest)
        let line = Array("hermes-node: ".utf8) + printable + [UInt8(ascii: "\n")]
        _ = Glibc.write(2, line, line.count)
        return true
    }
}
