/// Where a node can be reached: `tcp://ADDRESS:PORT` or `ipc://PATH`.
enum Endpoint: Equatable {
    case tcp(address: String, port: Int?)
    case ipc(path: String)

    /// Why a text is no endpoint: one sentence, what to do included.
    struct Fault: Error, Equatable {
        var message: String
    }

    /// `portIsOptional`: for mirror addresses, whose port Hermes may choose.
    init(_ text: String, portIsOptional: Bool = false) throws(Fault) {
        if text.hasPrefix("ipc://") {
            let path = String(text.dropFirst(6))
            guard !path.isEmpty, path.utf8.count <= 107 else {
                throw Fault(message: "\(quoted(text)) needs a path of 1 to 107 bytes after `ipc://`")
            }
            self = .ipc(path: path)
            return
        }
        guard text.hasPrefix("tcp://") else {
            throw Fault(message: "\(quoted(text)) is no endpoint; write `tcp://ADDRESS:PORT` or `ipc://PATH`")
        }
        let rest = text.dropFirst(6)
        let address: Substring
        let behind: Substring
        if rest.first == "[" {
            guard let close = rest.firstIndex(of: "]") else {
                throw Fault(message: "\(quoted(text)) lacks the `]` after its address")
            }
            address = rest[rest.index(after: rest.startIndex)..<close]
            behind = rest[rest.index(after: close)...]
            guard Address.isIPv6(String(address)) else {
                throw Fault(message: "\(quoted(String(address))) in \(quoted(text)) is no IPv6 address")
            }
        } else {
            let colon = rest.firstIndex(of: ":") ?? rest.endIndex
            address = rest[..<colon]
            behind = rest[colon...]
            if behind.dropFirst().contains(":") {
                throw Fault(
                    message:
                        "\(quoted(text)) has more than one port; write an IPv6 address in brackets: `tcp://[::1]:7600`")
            }
            guard address == "*" || Address.isPlausible(String(address)) else {
                throw Fault(message: "\(quoted(String(address))) in \(quoted(text)) is no address or host name")
            }
        }
        if address == "*" || Address.isUnspecified(String(address)) {
            throw Fault(message: "\(quoted(text)) is no address to reach a host at; write the host's own")
        }
        if behind.isEmpty, portIsOptional {
            self = .tcp(address: String(address), port: nil)
            return
        }
        guard behind.first == ":", let port = Self.port(behind.dropFirst()) else {
            let found = behind.dropFirst()
            throw Fault(
                message: found.isEmpty
                    ? "\(quoted(text)) has no port; write `tcp://ADDRESS:PORT`"
                    : "\(quoted(String(found))) in \(quoted(text)) is no port; ports are 1 to 65535")
        }
        self = .tcp(address: String(address), port: port)
    }

    private static func port(_ text: Substring) -> Int? {
        guard text.utf8.count <= 5, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let port = Int(text), Endpoint.ports.contains(port)
        else { return nil }
        return port
    }

    static let ports = 1...65535

    /// True when nobody on another machine can reach it.
    var isLocal: Bool {
        switch self {
        case .tcp(let address, _): Address.isLoopback(address)
        case .ipc: true
        }
    }
}
