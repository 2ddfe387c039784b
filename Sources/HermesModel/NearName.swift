import HermesSystem

/// The candidate that `name` was most likely meant to be, or nil when none is near: one that looks the same, or is equal but
/// for the case of its letters, or a few typing slips away (a letter wrong, missing, too many, or two swapped); a third of
/// the name's length at most, and never more than three. Of equally near ones the first wins.
public func nearest(to name: String, among candidates: some Sequence<String>) -> String? {
    guard !name.isEmpty, name.utf8.count <= 4 * longestComparedName else { return nil }
    let wanted = name.unicodeScalars.map(\.value)
    guard wanted.count <= longestComparedName else { return nil }
    let seen = wanted.map(LookAlike.seen)
    var allowed = max(1, min(3, wanted.count / 3))
    var best: String?
    for candidate in candidates {
        // The same text in another normal form.
        if candidate == name { return candidate }
        let bytes = candidate.utf8.count
        guard bytes > 0, bytes <= 4 * (wanted.count + allowed) else { continue }
        let other = candidate.unicodeScalars.map(\.value)
        guard abs(other.count - wanted.count) <= allowed else { continue }
        // A single letter is one slip away from every other: that is no likeness.
        let slips = slipsBetween(seen, other.map(LookAlike.seen), atMost: allowed)
        guard slips <= allowed, slips < max(wanted.count, other.count) else { continue }
        best = candidate
        if slips == 0 { return candidate }
        allowed = slips - 1
    }
    return best
}

/// Near names for what is wrong in one place, a configuration or a plan. A search costs time for each candidate: after so
/// many that place is past guessing, so that a great many errors take no more than many.
public struct NearNames: Sendable {
    private var comparisonsLeft = 200_000

    public init() {}

    public var isExhausted: Bool { comparisonsLeft <= 0 }

    /// Counts what costs as much as so many comparisons.
    public mutating func spend(_ comparisons: Int) { comparisonsLeft -= comparisons }

    /// As the function of this name, and nil when there have been a great many before.
    public mutating func nearest(to name: String, among candidates: some Collection<String>) -> String? {
        if isExhausted { return nil }
        spend(candidates.count)
        return HermesModel.nearest(to: name, among: candidates)
    }

    /// The same.
    public mutating func didYouMean(_ name: String, among candidates: some Collection<String>) -> String {
        if isExhausted { return "" }
        spend(candidates.count)
        return HermesModel.didYouMean(name, among: candidates)
    }
}

/// "; did you mean `x`?" for the end of a message, and how the two are spelt where that can't be seen; "" when no candidate
/// is near.
public func didYouMean(_ name: String, among candidates: some Sequence<String>) -> String {
    nearest(to: name, among: candidates).map { "; did you mean `\($0)`?\(spelling(of: $0, besides: name))" } ?? ""
}

/// " It is spelt with U+03BC where this has U+00B5...": what tells a name from another one where characters beyond ASCII do,
/// for those may look the same. "" where letters show it.
public func spelling(of near: String, besides name: String) -> String {
    var there = near.unicodeScalars[...], here = name.unicodeScalars[...]
    while let first = there.first, first == here.first { (there, here) = (there.dropFirst(), here.dropFirst()) }
    while let last = there.last, last == here.last { (there, here) = (there.dropLast(), here.dropLast()) }
    guard !there.allSatisfy(\.isASCII) || !here.allSatisfy(\.isASCII) else { return "" }
    func points(_ scalars: Substring.UnicodeScalarView) -> String {
        scalars.isEmpty ? "nothing" : scalars.prefix(mostShownPoints).map(codePoint).joined(separator: " ")
    }
    let form = near == name ? ", the same text in another Unicode normal form" : ""
    return " It is spelt with \(points(there)) where this has \(points(here))\(form); names are compared byte by byte"
}

private func codePoint(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    return "U+" + String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
}

/// Longer names are not compared, in code points: the cost grows with the square of the length.
private let longestComparedName = 128
private let mostShownPoints = 8

/// The optimal string alignment distance, or any number above `limit` as soon as it must exceed it.
private func slipsBetween(_ left: [UInt32], _ right: [UInt32], atMost limit: Int) -> Int {
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
