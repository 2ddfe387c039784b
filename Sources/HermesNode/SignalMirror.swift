import CHermes
import Glibc
import HermesBackplane
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport

/// Carries wired signals to and from other hosts: one message a peer and phase, packed by lists made once, straight out of
/// the segment's outbox and into its inbox.
struct SignalMirror {
    private let link: any MirrorLink
    private let share: HostShare
    private let inbox: UnsafeMutablePointer<UInt64>
    private let outbox: UnsafeMutablePointer<UInt64>
    /// Seconds a peer that lives may take; its own time-outs come first, so that it is the last to be blamed.
    private let patienceSeconds: Double
    private let times: FrameTimes
    /// Nanoseconds of a short wait before each sleep.
    private let spinLength: UInt32
    private var spin = hermes_spin()
    private let warn: (_ peer: Int, _ frame: UInt64) -> Void

    /// - Parameters:
    ///   - patienceSeconds: 0 for ever.
    ///   - warn: told at half of it.
    init(
        _ link: any MirrorLink, _ share: HostShare, _ segment: Segment, _ times: FrameTimes, spinLength: UInt32,
        patienceSeconds: Double,
        warn: @escaping (_ peer: Int, _ frame: UInt64) -> Void
    ) {
        self.link = link
        self.times = times
        self.spinLength = spinLength
        self.patienceSeconds = patienceSeconds
        self.warn = warn
        self.share = share
        inbox = segment.inbox
        outbox = segment.outbox
    }

    /// Sends what is due after a phase, then waits for what its wires need. The phase beyond the last is the start of an
    /// epoch, where everything is exchanged.
    mutating func exchange(phase: Int, frame: UInt64, epoch: UInt32) throws(LinkFault) {
        for part in share.sends[phase] {
            try link.send(
                FrameHeader(.mirror, run: link.run, epoch: epoch, frame: frame, phase: part.phase, count: part.count),
                to: part.peer, payload: UnsafeRawBufferPointer(start: outbox + part.offset, count: part.count * 8))
        }
        try link.flush()
        guard !share.receives[phase].isEmpty else { return }
        var began = monotonicNow()
        for part in share.receives[phase] {
            let values = try receive(part, frame, epoch)
            memcpy(inbox + part.offset, values.baseAddress!, part.count * 8)
            let now = monotonicNow()
            times.heard(part.peer, phase: part.phase, from: began, to: now)
            began = now
        }
    }

    private mutating func receive(
        _ part: HostShare.Part, _ frame: UInt64, _ epoch: UInt32
    ) throws(LinkFault) -> UnsafeRawBufferPointer {
        if hermes_spin_begin(&spin, spinLength) != 0 {
            repeat {
                if let values = try next(part, frame, epoch, until: 0) {
                    hermes_spin_won(&spin)
                    return values
                }
            } while hermes_spin_on(&spin) != 0
        }
        for half in 1...2 {
            if let values = try next(part, frame, epoch, until: deadline(after: patienceSeconds / 2)) { return values }
            if half == 1 { warn(part.peer, frame) }
        }
        throw .silent(peer: part.peer, seconds: patienceSeconds)
    }

    private func next(
        _ part: HostShare.Part, _ frame: UInt64, _ epoch: UInt32, until deadline: UInt64
    ) throws(LinkFault) -> UnsafeRawBufferPointer? {
        try link.nextMirror(
            from: part.peer, epoch: epoch, frame: frame, phase: part.phase, count: part.count, until: deadline)
    }
}
