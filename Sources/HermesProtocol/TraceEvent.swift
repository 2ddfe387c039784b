/// Something that a timeline shows. Plain bytes: a ring of them is what a host sends.
public struct TraceEvent: Sendable, Equatable {
    public enum Kind: UInt16, Sendable {
        /// A frame on its host.
        case frame = 1
        /// A module's step; `detail` 1: it never ended.
        case step = 2
        /// From a module's end to that of the last of its phase.
        case wait = 3
        /// An exchange with other hosts; `detail` is the phase.
        case exchange = 4
        /// Waiting within it for the values of the participant `subject`.
        case mirror = 5
        /// A step message, to or from the participant `subject`; `detail` is how many frames it grants.
        case stepMessage = 6
        /// A done message, likewise; `detail` is how many frames are.
        case doneMessage = 7
        /// The coordinator: asked the hosts for frames until they were complete; `detail` is how many.
        case advance = 8
        /// The coordinator: recording, digest and whoever else is shown frames.
        case observe = 9
        /// The coordinator: slept until the frame's deadline.
        case pace = 10
    }

    /// CLOCK_MONOTONIC nanoseconds of the host that took note.
    public var begin, end: UInt64
    public var frame: UInt64
    public var epoch: UInt32
    public var detail: UInt32
    public var kind: UInt16
    /// A module or a participant, by index.
    public var subject: UInt16

    public init(
        _ kind: Kind, begin: UInt64, end: UInt64, frame: UInt64, epoch: UInt32, subject: Int = 0, detail: Int = 0
    ) {
        self.begin = begin
        self.end = end
        self.frame = frame
        self.epoch = epoch
        self.detail = UInt32(truncatingIfNeeded: detail)
        self.kind = kind.rawValue
        self.subject = UInt16(truncatingIfNeeded: subject)
    }
}
