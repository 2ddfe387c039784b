import CZeroMQ
import Glibc
import HermesProtocol
import HermesSystem
import Synchronization

/// Why a wait for other hosts ended without what was waited for.
public enum LinkFault: Error, Sendable, Equatable {
    /// Somebody raised the alarm: a lost host, a lost module, an interruption.
    case alarm
    /// A message came that interrupts.
    case interrupted
    /// A peer said what it should not: one sentence.
    case protocolError(peer: Int, cause: String)
    /// A peer can't be reached.
    case unreachable(peer: Int)
    /// A peer lives, but what was due has not come.
    case silent(peer: Int, seconds: Double)
}

/// One participant's end of the links of a run: to the coordinator and to the hosts it mirrors with. One socket carries all
/// of it, owned by the thread that runs the frames; the peers are told apart by their index in the plan.
///
/// Whatever comes is filed: mirrors behind each other in a ring for each peer, where those that come early wait, everything
/// else in one ring of words.
public final class RunLink: MirrorLink {
    public let run: UInt64
    public let index: Int
    private let socket: Socket
    private let events: ConnectionEvents
    private let gate: ConnectionGate
    private let security: LinkSecurity
    private let alarm: Alarm
    private let bell: Bell
    /// What the socket's time-out is set to, milliseconds.
    private var sleep: Int32 = -1
    private var isConnected: [Bool]
    private var mirrors: [MessageRing]
    private var words = MessageRing()
    /// How many words interrupt whoever waits for mirrors.
    private var urgentWords = 0
    private let current = UnsafeMutablePointer<zmq_msg_t>.allocate(capacity: 1)
    private let peerNames: [[UInt8]]
    /// By which descriptor each peer's messages come, for whoever watches connections.
    private let descriptors: Mutex<[Int32: Int]> = Mutex([:])
    /// Messages that were dropped: of strangers, of other runs, of no known form.
    public private(set) var dropped: UInt64 = 0

    /// Bytes of the longest message a peer may send.
    public static let longestMessage: Int64 = 64 << 20

    /// What one peer may have sent that nobody has read: more than its grants allow it by far.
    static let mostUnread = 1 << 20
    static let mostUnreadBytes = 4 << 30

    /// - Parameter participants: how many take part, the coordinator included.
    public init(
        _ context: MessageContext, run: UInt64, index: Int, participants: Int, security: LinkSecurity,
        livenessSeconds: Double, alarm: Alarm
    ) throws {
        self.run = run
        self.index = index
        self.security = security
        self.alarm = alarm
        isConnected = Array(repeating: false, count: participants)
        mirrors = (0..<participants).map { _ in MessageRing() }
        peerNames = (0..<participants).map { Self.name(token: security.token, index: $0) }
        socket = try Socket(context, ZMQ_ROUTER)
        socket.set(ZMQ_ROUTING_ID, bytes: peerNames[index])
        socket.set(ZMQ_ROUTER_MANDATORY, 1)
        socket.set(ZMQ_LINGER, 500)
        socket.setWide(ZMQ_MAXMSGSIZE, Self.longestMessage)
        socket.set(ZMQ_SNDHWM, 0)
        socket.set(ZMQ_RCVHWM, 0)
        socket.set(ZMQ_IPV6, 1)
        // For the first try, which a network that just came up may refuse. Once there, a connection that ends is the end of
        // the run: what was on its way is lost.
        socket.set(ZMQ_RECONNECT_IVL, 100)
        socket.watchLiveness(limitSeconds: livenessSeconds)
        socket.set(ZMQ_HANDSHAKE_IVL, 5000)
        events = try ConnectionEvents(of: socket, in: context)
        gate = try ConnectionGate()
        zmq_msg_init(current)
        bell = try Bell(for: socket, in: context)
        alarm.onRaise { [bell] in bell.ring() }
    }

    deinit {
        for ring in mirrors { ring.release() }
        words.release()
        zmq_msg_close(current)
        current.deallocate()
    }

    /// - Parameter lingers: what is not sent yet gets half a second.
    public func close(lingers: Bool) {
        if !lingers { socket.set(ZMQ_LINGER, 0) }
        bell.close()
        socket.close()
        events.socket.close()
    }

    /// Holds the run's token: on links without keys nobody else can take a participant's place.
    private static func name(token: String, index: Int) -> [UInt8] {
        [UInt8(ascii: "h"), UInt8(truncatingIfNeeded: index), UInt8(truncatingIfNeeded: index >> 8)] + Array(token.utf8)
    }

    // MARK: Connections

    /// Makes this end the one that is dialled: at every endpoint, or at none.
    /// - Parameter endpoints: after the first, one whose address this machine does not have is passed over: somebody else,
    ///   a router say, leads from there to here.
    public func listen(on endpoints: [ByteString]) throws {
        if let secret = security.secretKey {
            socket.set(ZMQ_CURVE_SERVER, 1)
            socket.set(ZMQ_CURVE_SECRETKEY, text: secret)
        } else {
            socket.set(ZMQ_PLAIN_SERVER, 1)
        }
        var bound: [ByteString] = []
        for endpoint in endpoints {
            do {
                gate.guards(endpoint)
                try socket.bind(endpoint)
                bound.append(endpoint)
            } catch let error as TransportError {
                if error.code == EADDRNOTAVAIL && !bound.isEmpty { continue }
                bound.forEach(socket.unbind)
                throw error
            }
        }
    }

    public func dial(peer: Int, at endpoint: ByteString) throws {
        if let secret = security.secretKey, let own = security.publicKey, let keys = security.participants {
            socket.set(ZMQ_CURVE_SERVER, 0)
            socket.set(ZMQ_CURVE_PUBLICKEY, text: own)
            socket.set(ZMQ_CURVE_SECRETKEY, text: secret)
            socket.set(ZMQ_CURVE_SERVERKEY, text: keys[peer])
        } else {
            socket.set(ZMQ_PLAIN_SERVER, 0)
            socket.set(ZMQ_PLAIN_USERNAME, text: "hermes")
            socket.set(ZMQ_PLAIN_PASSWORD, text: security.token)
        }
        socket.set(ZMQ_CONNECT_ROUTING_ID, bytes: peerNames[peer])
        try socket.connect(endpoint.text.map { ByteString(HostAddresses.answering($0)) } ?? endpoint)
    }

    /// Proves the links to `peers`: a probe each way. The dialling side says the first word.
    /// - Parameter deadline: CLOCK_MONOTONIC nanoseconds; peers that dial this one have a second more.
    /// - Returns: the peers that did not answer by then.
    public func prove(_ peers: [Int], dialled: [Int], until deadline: UInt64) throws(LinkFault) -> [Int] {
        for peer in dialled where peers.contains(peer) {
            try send(FrameHeader(.probe, run: run), to: peer)
        }
        let meeting = MeetingDeadline(ofDiallers: deadline)
        while true {
            let missing = peers.filter { !isConnected[$0] }
            if missing.isEmpty { return [] }
            let limit = meeting.limit(dialsMissing: missing.contains(where: dialled.contains))
            guard try pump(until: limit) else { return missing }
        }
    }

    /// Says who is lost, as connections end, and keeps strangers in bounds; sleeps until `stop` is raised. On a thread of its own.
    public func watchConnections(stop: Alarm, onLost: (_ peer: Int) -> Void) {
        while !stop.isRaised {
            var items = [events.socket.readable, readable(stop.descriptor), readable(gate.descriptor)]
            if zmq_poll(&items, 3, -1) < 0 && zmq_errno() != EINTR { return }
            while let event = events.next() {
                switch event {
                case .accepted(let descriptor): gate.accepted(descriptor)
                case .disconnected(let descriptor):
                    gate.ended(descriptor)
                    if let peer = descriptors.withLock({ $0.removeValue(forKey: descriptor) }) { onLost(peer) }
                default: continue
                }
            }
            gate.look()
        }
    }

    // MARK: Sending

    /// Sends 32 bytes.
    public func send(_ header: FrameHeader, to peer: Int) throws(LinkFault) {
        try send(header, to: peer, payload: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// Sends 32 bytes and a payload.
    public func send(_ header: FrameHeader, to peer: Int, payload: UnsafeRawBufferPointer) throws(LinkFault) {
        var message = zmq_msg_t()
        guard zmq_msg_init_size(&message, FrameHeader.size + payload.count) == 0 else {
            throw .protocolError(peer: peer, cause: "there is no memory for a message of \(payload.count) bytes")
        }
        let start = zmq_msg_data(&message)!
        header.store(into: start)
        if let bytes = payload.baseAddress { memcpy(start + FrameHeader.size, bytes, payload.count) }
        // The address is a part of its own, which ZeroMQ takes off again.
        let name = peerNames[peer]
        guard zmq_send(socket.pointer, name, name.count, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0,
            zmq_msg_send(&message, socket.pointer, ZMQ_DONTWAIT) >= 0
        else {
            zmq_msg_close(&message)
            throw .unreachable(peer: peer)
        }
    }

    /// Sends 32 bytes and a payload that was made ready.
    public func send<Word: BitwiseCopyable>(
        _ header: FrameHeader, to peer: Int, words: [Word]
    ) throws(LinkFault) {
        var fault: LinkFault?
        words.withUnsafeBytes { payload in
            do throws(LinkFault) {
                try send(header, to: peer, payload: payload)
            } catch {
                fault = error
            }
        }
        if let fault { throw fault }
    }

    public func send(_ control: ControlMessage, to peer: Int, epoch: UInt32 = 0, urgent: Bool = false) throws(LinkFault)
    {
        let header = FrameHeader(.control, run: run, epoch: epoch, phase: urgent ? 1 : 0)
        try send(header, to: peer, words: control.encoded)
    }

    // MARK: Receiving

    public func nextMirror(
        from peer: Int, epoch: UInt32, frame: UInt64, phase: Int, count: Int, until deadline: UInt64
    ) throws(LinkFault) -> UnsafeRawBufferPointer? {
        while true {
            while mirrors[peer].isEmpty {
                if urgentWords > 0 { throw .interrupted }
                guard try pump(until: deadline) else { return nil }
            }
            mirrors[peer].takeFirst(into: current)
            let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(current), count: zmq_msg_size(current))
            let mirror = try ReceivedMirror(
                bytes, run: run, from: peer, epoch: epoch, frame: frame, phase: phase, count: count)
            if case .values(let values) = mirror { return values }
        }
    }

    /// ZeroMQ's own thread sees to it.
    public func flush() throws(LinkFault) {}

    /// The next word of anybody that is no mirror: its sender, its header and what follows, valid until the next call; nil
    /// at the deadline (CLOCK_MONOTONIC nanoseconds).
    /// - Parameter heedsAlarm: false for the words that end a run.
    public func nextWord(
        until deadline: UInt64 = .max, heedsAlarm: Bool = true
    ) throws(LinkFault) -> (peer: Int, header: FrameHeader, payload: UnsafeRawBufferPointer)? {
        guard try awaitWord(until: deadline, heedsAlarm: heedsAlarm) else { return nil }
        let peer = words.takeFirst(into: current)
        let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(current), count: zmq_msg_size(current))
        let header = FrameHeader(bytes)!
        if header.kind == .control && header.phase == 1 { urgentWords -= 1 }
        return (peer, header, UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.size...]))
    }

    /// Sleeps until a word waits; false at the deadline.
    public func awaitWord(until deadline: UInt64, heedsAlarm: Bool = true) throws(LinkFault) -> Bool {
        while words.isEmpty {
            guard try pump(until: deadline, heedsAlarm: heedsAlarm) else { return false }
        }
        return true
    }

    /// Sleeps until something came and files it; false at the deadline.
    private func pump(until deadline: UInt64, heedsAlarm: Bool = true) throws(LinkFault) -> Bool {
        while true {
            if heedsAlarm && alarm.isRaised { throw .alarm }
            var milliseconds = Self.longestSleep
            if deadline < .max / 2 {
                let now = monotonicNow()
                if now < deadline {
                    milliseconds = Int32(min((deadline - now + 999_999) / 1_000_000, UInt64(Self.longestSleep)))
                } else {
                    milliseconds = 0
                }
            }
            if try takeOne(milliseconds) { return true }
            if deadline < .max / 2 && monotonicNow() >= deadline { return false }
        }
    }
    /// Milliseconds after which a sleeper looks at its clock.
    private static let longestSleep: Int32 = 1000

    /// Takes the next message off the socket and files it; false when none came in time. One blocking call: to watch
    /// anything beside the socket would cost every message two more calls of the kernel, so the alarm comes as a message.
    private func takeOne(_ milliseconds: Int32) throws(LinkFault) -> Bool {
        if milliseconds != 0 && milliseconds != sleep {
            socket.set(ZMQ_RCVTIMEO, milliseconds)
            sleep = milliseconds
        }
        var name = zmq_msg_t(), message = zmq_msg_t()
        zmq_msg_init(&name)
        defer { zmq_msg_close(&name) }
        guard zmq_msg_recv(&name, socket.pointer, milliseconds == 0 ? ZMQ_DONTWAIT : 0) >= 0 else { return false }
        zmq_msg_init(&message)
        var parts = 0, hasMore = zmq_msg_more(&name) != 0
        while hasMore && zmq_msg_recv(&message, socket.pointer, 0) >= 0 {
            parts += 1
            hasMore = zmq_msg_more(&message) != 0
        }
        guard parts == 1, let peer = sender(&name), try file(&message, from: peer) else {
            zmq_msg_close(&message)
            if zmq_msg_size(&name) != Bell.name.count { dropped += 1 }
            return true
        }
        return true
    }

    private func sender(_ name: inout zmq_msg_t) -> Int? {
        guard zmq_msg_size(&name) == peerNames[index].count, let bytes = zmq_msg_data(&name) else { return nil }
        let peer =
            Int(bytes.load(fromByteOffset: 1, as: UInt8.self)) | Int(bytes.load(fromByteOffset: 2, as: UInt8.self)) << 8
        guard peer < peerNames.count, peer != index, memcmp(bytes, peerNames[peer], peerNames[peer].count) == 0 else {
            return nil
        }
        return peer
    }

    /// False for what is no message of this run.
    private func file(_ message: inout zmq_msg_t, from peer: Int) throws(LinkFault) -> Bool {
        let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))
        guard let header = FrameHeader(bytes), header.run == run else { return false }
        switch header.kind {
        case .mirror:
            mirrors[peer].append(&message, from: peer)
            try checkRoom(mirrors[peer], peer)
        case .step, .done, .control, .sample, .values, .write:
            if header.kind == .control && header.phase == 1 { urgentWords += 1 }
            words.append(&message, from: peer)
            try checkRoom(words, peer)
        case .probe:
            meet(peer, &message)
            // The dialled side answers, once.
            if header.count == 0 { try? send(FrameHeader(.probe, run: run, count: 1), to: peer) }
            zmq_msg_close(&message)
        }
        return true
    }

    private func checkRoom(_ ring: MessageRing, _ peer: Int) throws(LinkFault) {
        guard ring.count > Self.mostUnread || ring.bytes > Self.mostUnreadBytes else { return }
        throw .protocolError(peer: peer, cause: "has sent \(ring.count) messages that are not due")
    }

    private func meet(_ peer: Int, _ message: inout zmq_msg_t) {
        isConnected[peer] = true
        let descriptor = zmq_msg_get(&message, Int32(HERMES_ZMQ_SOURCE_DESCRIPTOR))
        descriptors.withLock { $0[descriptor] = peer }
        // One of the run: what it sends is what the plan has it send.
        gate.release(descriptor)
    }
}
