import Glibc

/// Where a node listens, as `--listen` and `--ports` say it.
public struct ListenAddress: Sendable {
    /// As ZeroMQ takes it.
    public var endpoint: String
    /// Of `ipc://`.
    public var path: String?
    /// For runs.
    public var ports: ClosedRange<Int>
    /// True when nobody on another machine can reach it.
    public var isLocal: Bool

    struct Wrong: Error, CustomStringConvertible {
        var description: String
    }

    /// - Throws: one sentence that says what is wrong.
    public init(_ text: String, ports range: String?) throws {
        if text.hasPrefix("ipc://") {
            let path = String(text.dropFirst(6))
            // Runs add 14 characters.
            guard !path.isEmpty, path.utf8.count <= 90 else {
                throw Wrong(description: "'\(text)' needs a path of 1 to 90 bytes after ipc://")
            }
            (endpoint, self.path, ports, isLocal) = (text, path, 1...1, true)
            return
        }
        guard text.hasPrefix("tcp://"), let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (1...65535).contains(port)
        else { throw Wrong(description: "'\(text)' is no endpoint; write tcp://ADDRESS:PORT or ipc://PATH") }
        let address = text[text.index(text.startIndex, offsetBy: 6)..<colon]
        // ZeroMQ takes no names here.
        endpoint = address == "localhost" ? "tcp://127.0.0.1:\(port)" : text
        isLocal = address == "localhost" || address.hasPrefix("127.") || address == "[::1]"
        if let range {
            let ends = range.split(separator: "-").map { Int($0) }
            guard ends.count == 2, let first = ends[0], let last = ends[1], 1 <= first, first <= last, last <= 65535
            else {
                throw Wrong(description: "'\(range)' is no range of ports; write FIRST-LAST")
            }
            ports = first...last
        } else {
            guard port < 65535 else { throw Wrong(description: "no port follows \(port); give --ports FIRST-LAST") }
            ports = (port + 1)...min(port + 99, 65535)
        }
    }
}
