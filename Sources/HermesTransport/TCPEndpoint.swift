/// `tcp://HOST:PORT`, taken apart; the port may be missing where somebody else chooses it.
public struct TCPEndpoint: Sendable, Equatable {
    /// A name or an address; one of IPv6 in its brackets.
    public let host: String
    public let port: Int?

    /// Nil for another transport.
    public init?(_ text: String) {
        let bytes = Array(text.utf8), prefix = Array("tcp://".utf8)
        guard bytes.starts(with: prefix) else { return nil }
        let rest = bytes[prefix.count...]
        guard let colon = rest.lastIndex(of: UInt8(ascii: ":")), !rest[colon...].contains(UInt8(ascii: "]")) else {
            (host, port) = (String(decoding: rest, as: UTF8.self), nil)
            return
        }
        host = String(decoding: rest[..<colon], as: UTF8.self)
        port = Int(String(decoding: rest[(colon + 1)...], as: UTF8.self))
    }
}
