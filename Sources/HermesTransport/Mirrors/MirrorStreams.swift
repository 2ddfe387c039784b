import Glibc
import HermesPlan
import HermesProtocol
import HermesSystem
import Synchronization

/// Mirrors over connections of their own, one for each pair of hosts, owned by the thread that runs the frames: a send and
/// a receive a frame, and no other thread between. It sleeps in the receive of the connection it waits for; an alarm shuts
/// the connections down and so wakes it.
///
/// Hosts with more to say than the kernel holds can't block each other: nobody waits for values before all it has to send
/// is with the kernel, and whoever sends or waits takes whatever comes meanwhile, from everybody. What a host has not read
/// of a frame fits in the memory set aside, so only a host that runs ahead waits there, for one that is behind; and of all
/// hosts the one that is most behind waits for nobody.
public final class MirrorStreams: MirrorLink {
    public let run: UInt64
    private let index: Int
    private let alarm: Alarm
    private var streams: [MirrorStream?]
    /// Shut down by an alarm, from whichever thread raises it.
    private let descriptors = Descriptors()
    private var polled: [pollfd] = []
    private var polledPeers: [Int] = []
    /// Bytes that the kernel holds of any connection for somebody who does not read.
    private static let kernelHolds = 32 << 10
    /// Peers send more in a frame than the kernel holds: while one is waited for, what others send is taken as well.
    private var takesAll = false

    private final class Descriptors: Sendable {
        private let open = Mutex<[Int32]>([])
        func add(_ descriptor: Int32) { open.withLock { $0.append(descriptor) } }
        func shutDown() { open.withLock { $0.forEach { shutdown($0, Int32(SHUT_RDWR)) } } }
        func forget() { open.withLock { $0.removeAll() } }
    }

    /// - Parameters:
    ///   - index: this participant's.
    ///   - participants: how many take part in the run, the coordinator included.
    public init(run: UInt64, index: Int, participants: Int, alarm: Alarm) {
        self.run = run
        self.index = index
        self.alarm = alarm
        streams = Array(repeating: nil, count: participants)
        alarm.onRaise { [descriptors] in descriptors.shutDown() }
    }

    deinit { close() }

    /// Lets the other hosts know that this one sends no more, behind what it has sent. On the thread that runs the frames.
    public func finish() {
        for stream in streams { if let stream { shutdown(stream.descriptor, Int32(SHUT_WR)) } }
    }

    /// Ends the connections. On the thread that runs the frames, or when it is gone.
    public func close() {
        descriptors.shutDown()
        descriptors.forget()
        for index in streams.indices { streams[index] = nil }
        polledPeers = []
        polled = []
    }

    func adopt(_ stream: MirrorStream, peer: Int) {
        streams[peer] = stream
        descriptors.add(stream.descriptor)
        polledPeers.append(peer)
        polled.append(pollfd(fd: stream.descriptor, events: 0, revents: 0))
    }

    /// Sets memory aside for what a share of the plan sends and receives.
    /// - Throws: when it has mirrors for a host that no stream leads to.
    public func reserve(_ share: HostShare) throws(LinkFault) {
        takesAll = false
        for (peer, stream) in streams.enumerated() {
            func sizes(_ exchanges: [[HostShare.Part]]) -> [[Int]] {
                exchanges.map { parts in
                    parts.filter { $0.peer == peer }.map { MirrorStream.recordSize(values: $0.count) }
                }
            }
            let out = sizes(share.sends), into = sizes(share.receives)
            guard let stream else {
                if out.joined().isEmpty && into.joined().isEmpty { continue }
                throw .protocolError(peer: peer, cause: "has mirrors and no stream for them")
            }
            let incoming = into.joined().reduce(0, +)
            takesAll = takesAll || polledPeers.count > 1 && incoming > Self.kernelHolds
            stream.reserve(
                outgoing: out.map { $0.reduce(0, +) }.max() ?? 0, longestOutgoing: out.joined().max() ?? 0,
                incoming: incoming, longestIncoming: into.joined().max() ?? 0)
        }
    }

    // MARK: Frames

    public func send(_ header: FrameHeader, to peer: Int, payload: UnsafeRawBufferPointer) throws(LinkFault) {
        guard let stream = streams[peer] else { throw closed(peer) }
        guard stream.append(header, payload) else {
            throw .protocolError(peer: peer, cause: "is owed more values in an exchange than the plan says")
        }
        guard stream.push() else { throw closed(peer) }
    }

    public func flush() throws(LinkFault) {
        for peer in polledPeers where streams[peer]!.hasUnsent { return try flushSlowly() }
    }

    /// The kernel is full: what comes is taken meanwhile.
    private func flushSlowly() throws(LinkFault) {
        while true {
            var isWaiting = false
            for (place, peer) in polledPeers.enumerated() {
                let stream = streams[peer]!
                polled[place].events = Int16((stream.hasUnsent ? POLLOUT : 0) | (stream.hasRoom ? POLLIN : 0))
                isWaiting = isWaiting || stream.hasUnsent
            }
            if !isWaiting { return }
            if alarm.isRaised { throw .alarm }
            guard poll(&polled, nfds_t(polled.count), Self.sliceMilliseconds) > 0 else { continue }
            for (place, peer) in polledPeers.enumerated() where polled[place].revents != 0 {
                let stream = streams[peer]!
                if stream.hasUnsent && !stream.push() { throw closed(peer) }
                try take(place, peer)
            }
        }
    }

    /// Takes what a poll has found. One that is gone is found by every poll, be there room or not.
    private func take(_ place: Int, _ peer: Int) throws(LinkFault) {
        let stream = streams[peer]!
        let isGone = stream.hasRoom ? stream.pull(waits: false) == .closed : polled[place].revents & Self.gone != 0
        if isGone { throw closed(peer) }
    }
    private static let gone = Int16(POLLHUP | POLLERR | POLLNVAL)
    /// How long a sleep lasts at most.
    private static let sliceMilliseconds: Int32 = 250

    /// Sleeps until the peer has sent something, and takes what others send meanwhile. Or takes what has come by now.
    private func pullAll(for awaited: Int, waits: Bool) throws(LinkFault) -> MirrorStream.Arrival {
        for (place, peer) in polledPeers.enumerated() {
            polled[place].events = Int16(streams[peer]!.hasRoom ? POLLIN : 0)
        }
        guard poll(&polled, nfds_t(polled.count), waits ? Self.sliceMilliseconds : 0) > 0 else { return .nothing }
        var arrival = MirrorStream.Arrival.nothing
        for (place, peer) in polledPeers.enumerated() where polled[place].revents != 0 {
            if peer == awaited { arrival = streams[peer]!.pull(waits: false) } else { try take(place, peer) }
        }
        return arrival
    }

    public func nextMirror(
        from peer: Int, epoch: UInt32, frame: UInt64, phase: Int, count: Int, until deadline: UInt64
    ) throws(LinkFault) -> UnsafeRawBufferPointer? {
        guard let stream = streams[peer] else { throw closed(peer) }
        var hasPulled = false
        while true {
            while let record = try stream.nextRecord(from: peer) {
                let mirror = try ReceivedMirror(
                    record, run: run, from: peer, epoch: epoch, frame: frame, phase: phase, count: count)
                if case .values(let values) = mirror { return values }
            }
            if alarm.isRaised { throw .alarm }
            if hasPulled && deadline < .max / 2 && monotonicNow() >= deadline { return nil }
            let waits = deadline > 0
            let arrival = try takesAll ? pullAll(for: peer, waits: waits) : stream.pull(waits: waits)
            if arrival == .closed { throw closed(peer) }
            hasPulled = true
        }
    }

    private func closed(_ peer: Int) -> LinkFault { alarm.isRaised ? .alarm : .unreachable(peer: peer) }
}
