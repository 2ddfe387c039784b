/// The candidate that `name` was most likely meant to be, or nil when none is near: equal but for the case of its
/// letters, or a few typing slips away (a letter wrong, missing, too many, or two swapped); a third of the name's
/// length at most, and never more than three. Of equally near ones the first wins.
public func nearest(to name: String, among candidates: some Sequence<String>) -> String? {
    let wanted = Array(name.utf8.prefix(longestComparedName + 1))
    guard !wanted.isEmpty, wanted.count <= longestComparedName else { return nil }
    let lowered = wanted.map(lowercased)
    var allowed = max(1, min(3, wanted.count / 3))
    var best: String?
    for candidate in candidates {
        let count = candidate.utf8.count
        guard count > 0, abs(count - wanted.count) <= allowed else { continue }
        let other = Array(candidate.utf8)
        if other == wanted { return candidate }
        // A single letter is one slip away from every other: that is no likeness.
        let slips = slipsBetween(lowered, other.map(lowercased), atMost: allowed)
        guard slips <= allowed, slips < max(wanted.count, count) else { continue }
        best = candidate
        if slips == 0 { return candidate }
        allowed = slips - 1
    }
    return best
}

/// "; did you mean `x`?" for the end of a message, or "" when no candidate is near.
public func didYouMean(_ name: String, among candidates: some Sequence<String>) -> String {
    nearest(to: name, among: candidates).map { "; did you mean `\($0)`?" } ?? ""
}

/// Longer names are not compared: the cost grows with the square of the length.
private let longestComparedName = 128

private func lowercased(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
}

/// The optimal string alignment distance, or any number above `limit` as soon as it must exceed it.
private func slipsBetween(_ left: [UInt8], _ right: [UInt8], atMost limit: Int) -> Int {
    var beforePrevious = [Int](repeating: 0, count: right.count + 1)
    var previous = Array(0...right.count)
    var current = previous
    for row in 1...left.count {
        current[0] = row
        var lowest = row
        for column in 1...right.count {
            let differs = left[row - 1] == right[column - 1] ? 0 : 1
            var slips = min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + differs)
            if row > 1, column > 1, left[row - 1] == right[column - 2], left[row - 2] == right[column - 1] {
                slips = min(slips, beforePrevious[column - 2] + 1)
            }
            current[column] = slips
            lowest = min(lowest, slips)
        }
        if lowest > limit { return lowest }
        (beforePrevious, previous, current) = (previous, current, beforePrevious)
    }
    return previous[right.count]
}
