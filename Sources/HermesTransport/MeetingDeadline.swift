import HermesProtocol

/// Until when both ends of connections wait for each other. Whoever dials can say which address it does not reach, so the
/// end that is dialled has a second more and leaves it the first word.
struct MeetingDeadline {
    private static let longerSeconds = 1.0

    /// CLOCK_MONOTONIC nanoseconds at which an end gives up that dials somebody who is missing.
    let ofDiallers: UInt64

    /// The same for this end.
    /// - Parameter dialsMissing: whether it dials any of those who are missing.
    func limit(dialsMissing: Bool) -> UInt64 {
        dialsMissing ? ofDiallers : ofDiallers + UInt64(Self.longerSeconds * 1e9)
    }
}
