import Glibc
import HermesSystem

/// Where a node listens, as `--listen` and `--ports` say it.
public struct ListenAddress: Sendable {
    /// As ZeroMQ takes it.
    public var endpoint: ByteString
    /// Of `ipc://`.
    public var path: ByteString?
    /// For runs.
    public var ports: ClosedRange<Int>
    /// True when nobody on another machine can reach it.
    public var isLocal: Bool

    struct Wrong: Error, CustomStringConvertible {
        var description: String
    }

    /// - Throws: one sentence that says what is wrong.
    public init(_ endpoint: ByteString, ports range: String?) throws {
        if endpoint.hasPrefix("ipc://") {
            let path = endpoint.dropFirst(6)
            // Runs add 14 characters.
            guard !path.isEmpty, path.count <= 90 else {
                throw Wrong(description: "'\(endpoint)' needs a path of 1 to 90 bytes after ipc://")
            }
            (self.endpoint, self.path, ports, isLocal) = (endpoint, path, 1...1, true)
            return
        }
        let bytes = endpoint.bytes
        guard endpoint.hasPrefix("tcp://"), let colon = bytes.lastIndex(of: UInt8(ascii: ":")), colon > 5,
            let port = ByteString(bytes: bytes[(colon + 1)...]).text.flatMap({ Int($0) }), (1...65535).contains(port)
        else { throw Wrong(description: "'\(endpoint)' is no endpoint; write tcp://ADDRESS:PORT or ipc://PATH") }
        let address = ByteString(bytes: bytes[6..<colon])
        // ZeroMQ takes no names here.
        self.endpoint = address == "localhost" ? "tcp://127.0.0.1:\(port)" : endpoint
        isLocal = address == "localhost" || address.hasPrefix("127.") || address == "[::1]"
        if let range {
            let ends = range.split(separator: "-").map { Int($0) }  // ASCII
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
