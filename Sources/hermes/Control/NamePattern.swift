/// A name with stars, each standing for any text.
struct NamePattern {
    private let parts: [Substring]

    /// Nil for a text without a star.
    init?(_ text: String) {
        guard text.contains("*") else { return nil }
        parts = text.split(separator: "*", omittingEmptySubsequences: false)
    }

    func matches(_ name: String) -> Bool {
        var rest = name.utf8[...]
        let first = parts.first!.utf8
        let last = parts.last!.utf8
        guard rest.count >= first.count + last.count, rest.starts(with: first),
            rest.suffix(last.count).elementsEqual(last)
        else { return false }
        rest = rest.dropFirst(first.count).dropLast(last.count)
        // Between the stars the earliest place is as good as any.
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            let wanted = part.utf8
            guard
                let place = rest.indices.first(where: { rest[$0...].starts(with: wanted) })
            else { return false }
            rest = rest[rest.index(place, offsetBy: wanted.count)...]
        }
        return true
    }
}
