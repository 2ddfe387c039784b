/// A name with stars, each standing for any text.
struct NamePattern {
    private let parts: [Substring.UTF8View]

    /// Nil for a text without a star.
    init?(_ text: String) {
        let star = UInt8(ascii: "*")
        guard text.utf8.contains(star) else { return nil }
        parts = text.utf8.split(separator: star, omittingEmptySubsequences: false)
    }

    func matches(_ name: String) -> Bool {
        var rest = name.utf8[...]
        let first = parts.first!
        let last = parts.last!
        guard rest.count >= first.count + last.count, rest.starts(with: first),
            rest.suffix(last.count).elementsEqual(last)
        else { return false }
        rest = rest.dropFirst(first.count).dropLast(last.count)
        // Between the stars the earliest place is as good as any.
        for wanted in parts.dropFirst().dropLast() where !wanted.isEmpty {
            guard
                let place = rest.indices.first(where: { rest[$0...].starts(with: wanted) })
            else { return false }
            rest = rest[rest.index(place, offsetBy: wanted.count)...]
        }
        return true
    }
}
