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
