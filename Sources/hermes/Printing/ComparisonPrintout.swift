import HermesModel
import HermesRecorder

/// Two runs of one configuration, for people and for programs.
struct ComparisonPrintout {
    var frames: UInt64
    var comparison: RunComparison

    static let reasons = """
        Modules give other outputs for equal inputs when they read the wall clock, draw random numbers without a fixed
        seed, leave results to the timing of threads, read memory they never initialised, or are set by a free script.
        """

    private static let mostShown = 10

    var identical: String { "identical: \(frames) frames, digest \(comparison.digests.first)" }

    var different: String {
        guard let difference = comparison.difference else { return identical }
        var lines = ["different: frame \(difference.frame) is the first that differs"]
        if difference.values.isEmpty {
            lines.append("  its signals can't be named: the values of the first run took too much room to keep")
        }
        for value in difference.values.prefix(Self.mostShown) {
            lines.append(
                "  \(value.name): \(SignalValue.text(value.first, value.type)) in the first run, "
                    + "\(SignalValue.text(value.second, value.type)) in the second")
        }
        let left = difference.values.count - Self.mostShown
        if left > 0 { lines.append("  and \(left) more") }
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        let difference = comparison.difference
        return [
            "identical": .bool(difference == nil), "frames": .integer(frames),
            "digest": difference == nil ? .text(comparison.digests.first) : .null,
            "first_difference": difference.map(json) ?? .null,
            "free_scripts": .list(comparison.freeModules.map { .text($0) }),
        ]
    }

    private func json(_ difference: RunComparison.Difference) -> JSONValue {
        [
            "frame": .integer(difference.frame),
            "signals": .list(
                difference.values.map {
                    [
                        "name": .text($0.name), "first": .signal($0.first, $0.type),
                        "second": .signal($0.second, $0.type),
                    ]
                }),
        ]
    }
}
