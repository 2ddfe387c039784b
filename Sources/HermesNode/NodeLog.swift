import Glibc

/// Lines for the people who run a node, on standard error: what happens, each in one line.
public struct NodeLog: Sendable {
    public enum Level: Int, Sendable { case quiet, normal, verbose }
    private let level: Level
    /// Bytes of the longest line.
    private static let longest = 4000

    public init(_ level: Level) { self.level = level }

    public func note(_ text: String) { if level != .quiet { write(text) } }
    public func detail(_ text: String) { if level == .verbose { write(text) } }
    public func warning(_ text: String) { write("warning: \(text)") }

    private func write(_ text: String) {
        // Some of it may come from strangers: one line stays one line.
        let printable = text.utf8.prefix(Self.longest).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 }
        let line = Array("hermes-node: ".utf8) + printable + [UInt8(ascii: "\n")]
        _ = Glibc.write(2, line, line.count)
    }
}
