import HermesProtocol

/// How many frames hosts are granted at once. Two such runs may be under way: together as many frames as take about 20 ms,
/// so that pause, set and Ctrl-C act at once, and never more than memory is set aside for.
struct Grant {
    /// Nanoseconds a grant should take.
    private static let span: Double = 10_000_000
    static let most = UInt64(FrameHeader.mostGranted)
    /// Bytes of values that hosts keep for a grant.
    private static let mostBytes = 2 << 20

    private let fixed: UInt64?
    private let limit: UInt64
    private(set) var frames: UInt64 = 1
    /// Whether one run is granted while another is under way; with one frame a step message, each is waited for.
    var runsAhead: Bool { fixed != 1 }

    /// - Parameters:
    ///   - fixed: this many, whatever they take.
    ///   - width: values of a frame that the widest host sends.
    init(fixed: UInt64?, width: Int) {
        limit = min(Self.most, UInt64(max(1, Self.mostBytes / max(width * 8, 1))))
        self.fixed = fixed.map { [limit] in min($0, limit) }
        frames = self.fixed ?? 1
    }

    /// Learns from a grant that was used up.
    mutating func took(_ nanoseconds: UInt64, frames count: UInt64) {
        guard fixed == nil, count > 0 else { return }
        let fitting = Self.span / max(Double(nanoseconds) / Double(count), 1)
        // Twice as many at most: one quick frame says little.
        frames = max(1, min(UInt64(fitting), frames * 2, limit))
    }
}
