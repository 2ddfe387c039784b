/// Names of one module's signals, each with at most one star that stands for any text, by what they can stand for: whoever
/// asks which of them may mean the same signal as another name pays for those that do, not for all.
struct NameIndex {
    private struct Half {
        var head, tail: [UInt8]
        var number: Int
    }

    private static let star = UInt8(ascii: "*")

    /// Names without a star, and their numbers.
    private var exact: [[UInt8]: [Int]] = [:]
    private var sortedExact: [[UInt8]] = []
    /// Names with one, by what stands before it.
    private var patterns: [[UInt8]: [Half]] = [:]
    private var sortedHeads: [[UInt8]] = []
    /// Lengths of heads there are.
    private var headLengths: [Int] = []

    mutating func add(_ name: String, _ number: Int) {
        if let half = Self.half(name, number) {
            patterns[half.head, default: []].append(half)
        } else {
            exact[Array(name.utf8), default: []].append(number)
        }
    }

    /// Once all names are there.
    mutating func sort() {
        sortedExact = exact.keys.sorted { $0.lexicographicallyPrecedes($1) }
        sortedHeads = patterns.keys.sorted { $0.lexicographicallyPrecedes($1) }
        headLengths = Set(patterns.keys.map(\.count)).sorted()
    }

    /// Numbers of the names that can stand for a signal for which this name can, rising.
    func meeting(_ name: String) -> [Int] {
        guard let wanted = Self.half(name, 0) else { return meeting(exactly: Array(name.utf8)) }
        var found: [Int] = []
        for known in Self.all(sortedExact, beginningWith: wanted.head) where Self.covers(wanted, known) {
            found += exact[known]!
        }
        // One of two heads begins with the other, one of two tails ends with the other.
        func take(_ halves: [Half]) {
            for half in halves where Self.ends(half.tail, with: wanted.tail) || Self.ends(wanted.tail, with: half.tail)
            {
                found.append(half.number)
            }
        }
        for head in Self.all(sortedHeads, beginningWith: wanted.head) { take(patterns[head]!) }
        for length in headLengths where length < wanted.head.count {
            take(patterns[Array(wanted.head[..<length])] ?? [])
        }
        return found.sorted()
    }

    private func meeting(exactly name: [UInt8]) -> [Int] {
        var found = exact[name] ?? []
        for length in headLengths where length <= name.count {
            for half in patterns[Array(name[..<length])] ?? [] where Self.covers(half, name) {
                found.append(half.number)
            }
        }
        return found.sorted()
    }

    private static func half(_ name: String, _ number: Int) -> Half? {
        let bytes = Array(name.utf8)
        guard let place = bytes.firstIndex(of: star) else { return nil }
        return Half(head: Array(bytes[..<place]), tail: Array(bytes[(place + 1)...]), number: number)
    }

    private static func covers(_ half: Half, _ name: [UInt8]) -> Bool {
        name.count >= half.head.count + half.tail.count && name.starts(with: half.head) && ends(name, with: half.tail)
    }

    private static func ends(_ name: [UInt8], with tail: [UInt8]) -> Bool {
        name.count >= tail.count && name.suffix(tail.count).elementsEqual(tail)
    }

    /// Neighbours among sorted names.
    private static func all(_ sorted: [[UInt8]], beginningWith head: [UInt8]) -> ArraySlice<[UInt8]> {
        var low = 0, high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle].lexicographicallyPrecedes(head) { low = middle + 1 } else { high = middle }
        }
        return sorted[low...].prefix { $0.starts(with: head) }
    }
}
