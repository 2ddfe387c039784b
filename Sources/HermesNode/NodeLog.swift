import Glibc

/// Lines for the people who run a node, on standard error: what happens, each in one line.
public struct NodeLog: Sendable {
    public enum Level: Int, Sendable { case quiet, normal, verbose }
    private let level: Level

    public init(_ level: Level) { self.level = level }

    public func note(_ text: String) { if level != .quiet { write(text) } }
    public func detail(_ text: String) { if level == .verbose { write(text) } }
    public func warning(_ text: String) { write("warning: \(text)") }

    private func write(_ text: String) {
        let line = Array("hermes-node: \(text)\n".utf8)
        _ = Glibc.write(2, line, line.count)
    }
}
