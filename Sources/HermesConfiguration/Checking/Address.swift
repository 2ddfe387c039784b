import Glibc

/// Internet addresses and host names, by their text alone: nothing is looked up.
enum Address {
    static func isIPv4(_ text: String) -> Bool {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1
    }

    static func isIPv6(_ text: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET6, text, &address) == 1
    }

    /// The whole of 127.0.0.0/8, ::1 in any spelling, and `localhost`.
    static func isLoopback(_ text: String) -> Bool {
        if text.lowercased() == "localhost" { return true }
        if isIPv4(text) { return text.hasPrefix("127.") }
        return isIPv6(text, equalTo: "::1") || text.lowercased().hasPrefix("::ffff:127.") && isIPv6(text)
    }

    /// The address that stands for every interface of a machine.
    static func isUnspecified(_ text: String) -> Bool {
        isIPv4(text) && text == "0.0.0.0" || isIPv6(text, equalTo: "::")
    }

    private static func isIPv6(_ text: String, equalTo other: String) -> Bool {
        var left = in6_addr()
        var right = in6_addr()
        guard inet_pton(AF_INET6, text, &left) == 1, inet_pton(AF_INET6, other, &right) == 1 else { return false }
        return withUnsafeBytes(of: &left) { left in withUnsafeBytes(of: &right) { left.elementsEqual($0) } }
    }

    /// One spelling for each address: IPv6 in its shortest, IPv4 within IPv6 as IPv4, names in lower case, `localhost` as the
    /// address that nodes listen on.
    static func canonical(_ text: String) -> String {
        let lower = text.lowercased()
        if lower == "localhost" { return "127.0.0.1" }
        var address = in6_addr()
        guard inet_pton(AF_INET6, text, &address) == 1 else { return lower }
        var room = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(AF_INET6, &address, &room, socklen_t(room.count))
        let shortest = String(decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let mapped = "::ffff:"
        let isMapped = shortest.hasPrefix(mapped) && isIPv4(String(shortest.dropFirst(mapped.utf8.count)))
        return isMapped ? String(shortest.dropFirst(mapped.utf8.count)) : shortest
    }

    /// An IPv4 address or a host name; four numbers that are no address are neither.
    static func isPlausible(_ text: String) -> Bool {
        if isIPv4(text) { return true }
        guard (1...253).contains(text.utf8.count) else { return false }
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard let last = labels.last, !last.allSatisfy(isDigit) else { return false }
        return labels.allSatisfy { label in
            (1...63).contains(label.count) && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
                && label.allSatisfy {
                    isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                }
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}
