import HermesProtocol

/// What carries mirrors between the hosts of a run. All calls come from the thread that runs the frames.
public protocol MirrorLink: AnyObject {
    var run: UInt64 { get }
    /// Takes a mirror on its way; returns at once.
    func send(_ header: FrameHeader, to peer: Int, payload: UnsafeRawBufferPointer) throws(LinkFault)
    /// Sees to it that everything taken is under way without further help.
    func flush() throws(LinkFault)
    /// The next mirror of a peer, which must be of this epoch, frame and phase; older epochs' are dropped. The values are
    /// valid until the next call. Nil at the deadline (CLOCK_MONOTONIC nanoseconds); 0 only looks, at little cost.
    func nextMirror(
        from peer: Int, epoch: UInt32, frame: UInt64, phase: Int, count: Int, until deadline: UInt64
    ) throws(LinkFault) -> UnsafeRawBufferPointer?
}

/// What a mirror's bytes say, held against what is due.
enum ReceivedMirror {
    case values(UnsafeRawBufferPointer)
    /// Of an epoch that is over.
    case dropped

    init(
        _ bytes: UnsafeRawBufferPointer, run: UInt64, from peer: Int, epoch: UInt32, frame: UInt64, phase: Int,
        count: Int
    ) throws(LinkFault) {
        guard let header = FrameHeader(bytes), header.kind == .mirror, header.run == run else {
            throw .protocolError(peer: peer, cause: "sent what is no mirror of this run")
        }
        if header.epoch < epoch {
            self = .dropped
            return
        }
        guard header.epoch == epoch, header.frame == frame, header.phase == UInt16(truncatingIfNeeded: phase),
            header.count == UInt32(count), bytes.count == FrameHeader.size + 8 * count
        else {
            throw .protocolError(
                peer: peer,
                cause:
                    "sent values of frame \(header.frame), phase \(header.phase), epoch \(header.epoch) where those of "
                    + "frame \(frame), phase \(phase), epoch \(epoch) were due")
        }
        self = .values(UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.size...]))
    }
}
