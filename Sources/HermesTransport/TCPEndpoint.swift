/// `tcp://HOST:PORT`, taken apart; the port may be missing where somebody else chooses it.
public struct TCPEndpoint: Sendable, Equatable {
    /// A name or an address; one of IPv6 in its brackets.
    public let host: String
    public let port: Int?

    /// Nil for another transport.
    public init?(_ text: String) {
        let prefix = "tcp://"
        guard text.hasPrefix(prefix) else { return nil }
        let rest = text.dropFirst(prefix.count)
        guard let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") else {
            (host, port) = (String(rest), nil)
            return
        }
        (host, port) = (String(rest[..<colon]), Int(rest[rest.index(after: colon)...]))
    }
}
