import HermesSystem

/// Where a node can be reached: `tcp://ADDRESS:PORT` or `ipc://PATH`.
enum Endpoint: Equatable {
    case tcp(address: String, port: Int?)
    case ipc(path: ByteString)

    /// Why a text is no endpoint: one sentence, what to do included.
    struct Fault: Error, Equatable {
        var message: String
    }

    /// `portIsOptional`: for mirror addresses, whose port Hermes may choose.
    init(_ text: String, portIsOptional: Bool = false) throws(Fault) {
        let whole = text.bytes
        if whole.hasPrefix("ipc://") {
            let path = whole.dropFirst(6)
            guard !path.isEmpty, path.count <= 107 else {
                throw Fault(message: "\(quoted(text)) needs a path of 1 to 107 bytes after `ipc://`")
            }
            self = .ipc(path: path)
            return
        }
        guard whole.hasPrefix("tcp://") else {
            throw Fault(message: "\(quoted(text)) is no endpoint; write `tcp://ADDRESS:PORT` or `ipc://PATH`")
        }
        let rest = whole.dropFirst(6)
        let address: String
        let behind: ByteString
        if rest.hasPrefix("[") {
            guard let (inner, outer) = rest.dropFirst(1).divided(at: UInt8(ascii: "]")) else {
                throw Fault(message: "\(quoted(text)) lacks the `]` after its address")
            }
            (address, behind) = (Self.text(inner), outer)
            guard Address.isIPv6(address) else {
                throw Fault(message: "\(quoted(address)) in \(quoted(text)) is no IPv6 address")
            }
        } else {
            let colon = rest.bytes.firstIndex(of: UInt8(ascii: ":")) ?? rest.count
            address = Self.text(ByteString(bytes: rest.bytes[..<colon]))
            behind = rest.dropFirst(colon)
            if behind.dropFirst(1).contains(UInt8(ascii: ":")) {
                throw Fault(
                    message:
                        "\(quoted(text)) has more than one port; write an IPv6 address in brackets: `tcp://[::1]:7600`")
            }
            guard address == "*" || Address.isPlausible(address) else {
                throw Fault(message: "\(quoted(address)) in \(quoted(text)) is no address or host name")
            }
        }
        if address == "*" || Address.isUnspecified(address) {
            throw Fault(message: "\(quoted(text)) is no address to reach a host at; write the host's own")
        }
        if behind.isEmpty, portIsOptional {
            self = .tcp(address: address, port: nil)
            return
        }
        let found = Self.text(behind.dropFirst(1))
        guard behind.hasPrefix(":"), let port = Self.port(found) else {
            throw Fault(
                message: found.isEmpty
                    ? "\(quoted(text)) has no port; write `tcp://ADDRESS:PORT`"
                    : "\(quoted(found)) in \(quoted(text)) is no port; ports are 1 to 65535")
        }
        self = .tcp(address: address, port: port)
    }

    /// Cut at ASCII, so it is text as the whole is.
    private static func text(_ part: ByteString) -> String { String(decoding: part.bytes, as: UTF8.self) }

    private static func port(_ text: String) -> Int? {
        guard text.utf8.count <= 5, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let port = Int(text), Endpoint.ports.contains(port)
        else { return nil }
        return port
    }

    static let ports = 1...65535

    /// The same for all spellings of one endpoint.
    var place: ByteString {
        switch self {
        case .tcp(let address, let port): "tcp://\(Address.canonical(address)):\(port ?? 0)"
        case .ipc(let path): "ipc://\(path.tidiedPath)"
        }
    }

    /// True when nobody on another machine can reach it.
    var isLocal: Bool {
        switch self {
        case .tcp(let address, _): Address.isLoopback(address)
        case .ipc: true
        }
    }
}
