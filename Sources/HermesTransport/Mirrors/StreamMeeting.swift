import Glibc
import HermesProtocol
import HermesSystem

extension SetUp.Stream {
    var isDialled: Bool { endpoint != nil || path != nil }
    /// False for keys that are none, or only one of two.
    public var isSound: Bool {
        let keys = [sendKey, receiveKey].compactMap { $0 }
        return keys.isEmpty || keys.count == 2 && keys.allSatisfy { StreamKey.bytes($0) != nil }
    }
}

/// Brings the mirror streams of one participant about: it dials some peers and is dialled by others, and each direction
/// begins with a hello. Whoever comes and is no peer has a second and 256 bytes, less where many come, and is closed without a
/// word.
///
/// Streams that leave the machine's kernel are sealed wherever there are keys. A socket file is plain: nobody but its user
/// gets there.
public final class StreamMeeting {
    private static let strangerSeconds = 1.0
    private static let strangerBytes = 256
    private static let mostStrangers = 256

    private let run: UInt64
    private let index: Int
    private let token: String
    private let alarm: Alarm
    private let refused: (_ address: String) -> Void
    private var guests: [Guest] = []
    private var met: Set<Int> = []

    /// A connection before its hello.
    private final class Guest {
        let descriptor: Int32
        /// Whom it was dialled for.
        let dialled: SetUp.Stream?
        let isLocal: Bool
        var deadline: UInt64
        var isConnected: Bool
        var heard: [UInt8] = []
        var sealing: StreamSeal?

        init(_ descriptor: Int32, dialled: SetUp.Stream?, isLocal: Bool, isConnected: Bool, seconds: Double) {
            self.descriptor = descriptor
            self.dialled = dialled
            self.isLocal = isLocal
            self.isConnected = isConnected
            deadline = HermesSystem.deadline(after: seconds)
        }
    }

    /// - Parameters:
    ///   - token: what every participant of the run knows.
    ///   - refused: told where somebody came from who is no peer.
    public init(
        run: UInt64, index: Int, token: String, alarm: Alarm,
        refused: @escaping (_ address: String) -> Void
    ) {
        self.run = run
        self.index = index
        self.token = token
        self.alarm = alarm
        self.refused = refused
    }

    /// Meets `peers` and hands their connections to `streams`; the door is closed afterwards.
    /// - Parameter deadline: CLOCK_MONOTONIC nanoseconds; peers that dial this one have a second more.
    /// - Returns: those that were not met by then.
    public func meet(
        _ peers: [SetUp.Stream], through door: StreamDoor, into streams: MirrorStreams, until deadline: UInt64
    ) throws(LinkFault) -> [Int] {
        defer {
            guests.forEach { Glibc.close($0.descriptor) }
            guests = []
            door.close()
        }
        let addresses = peers.map(addresses)
        let meeting = MeetingDeadline(ofDiallers: deadline)
        var next = Array(repeating: 0, count: peers.count), dialAgain = Array(repeating: UInt64(0), count: peers.count)
        while true {
            let missing = peers.filter { !met.contains($0.index) }
            if missing.isEmpty { return [] }
            if alarm.isRaised { throw .alarm }
            let now = monotonicNow()
            let limit = meeting.limit(dialsMissing: missing.contains(where: \.isDialled))
            if now >= limit { return missing.map(\.index) }
            for (place, peer) in peers.enumerated() where !addresses[place].isEmpty && !met.contains(peer.index) {
                guard now >= dialAgain[place], !guests.contains(where: { $0.dialled?.index == peer.index }) else {
                    continue
                }
                // A refusal may mean "not yet": a network that just came up, a peer behind a router.
                let address = addresses[place][next[place] % addresses[place].count]
                next[place] += 1
                dialAgain[place] = now + (next[place] % addresses[place].count == 0 ? 100_000_000 : 0)
                guard let descriptor = address.dial() else { continue }
                guests.append(
                    Guest(descriptor, dialled: peer, isLocal: address.isLocal, isConnected: false, seconds: 2))
            }
            wait(door, until: limit)
            accept(door)
            for guest in guests where !hear(guest, peers, streams) {
                guests.removeAll { $0 === guest }
            }
        }
    }

    private func addresses(of peer: SetUp.Stream) -> [StreamAddress] {
        let named = peer.endpoint.flatMap { try? HostAddresses.endpoints(of: $0.description) } ?? []
        return [peer.path.flatMap { StreamAddress(path: $0) }].compactMap { $0 }
            + named.compactMap { try? StreamAddress(endpoint: $0) }
    }

    /// Until somebody comes or speaks; at most a little while.
    private func wait(_ door: StreamDoor, until deadline: UInt64) {
        var watched = [pollfd(fd: alarm.descriptor, events: Int16(POLLIN), revents: 0)]
        watched += door.listeners.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        watched += guests.map {
            pollfd(fd: $0.descriptor, events: Int16($0.isConnected ? POLLIN : POLLOUT), revents: 0)
        }
        let now = monotonicNow()
        let milliseconds = deadline > now ? min((deadline - now) / 1_000_000 + 1, 20) : 0
        poll(&watched, nfds_t(watched.count), Int32(milliseconds))
    }

    private func accept(_ door: StreamDoor) {
        for (listener, isLocal) in door.listeners {
            for _ in 0..<Self.mostStrangers {
                let descriptor = Glibc.accept(listener, nil, nil)
                guard descriptor >= 0 else { break }
                makeRoom()
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
                guests.append(
                    Guest(descriptor, dialled: nil, isLocal: isLocal, isConnected: true, seconds: Self.strangerSeconds))
            }
        }
    }

    /// A peer speaks as soon as it has come, so of too many who have not the one that came first goes.
    private func makeRoom() {
        let strangers = guests.indices.filter { guests[$0].dialled == nil }
        guard strangers.count >= Self.mostStrangers else { return }
        let oldest = guests.remove(at: strangers[0])
        refused(Self.address(of: oldest.descriptor))
        Glibc.close(oldest.descriptor)
    }

    /// Takes what a guest has said; false when it is none any more, be it met or sent away.
    private func hear(_ guest: Guest, _ peers: [SetUp.Stream], _ streams: MirrorStreams) -> Bool {
        func sendAway() -> Bool {
            if guest.dialled == nil { refused(Self.address(of: guest.descriptor)) }
            Glibc.close(guest.descriptor)
            return false
        }
        if !guest.isConnected {
            switch connection(guest) {
            case .waiting: return monotonicNow() < guest.deadline || sendAway()
            case .failed: return sendAway()
            case .made:
                guest.isConnected = true
                // It may have more to do before it meets anybody; a second connection would be one too many for it.
                guest.deadline = .max
                if !say(hello: guest, to: guest.dialled!) { return sendAway() }
            }
        }
        guard let hello = receiveHello(guest) else { return sendAway() }
        guard let (from, to, isSealed, size) = hello else { return monotonicNow() < guest.deadline || sendAway() }
        guard guest.heard.count == size else { return monotonicNow() < guest.deadline || sendAway() }
        guard to == index, !met.contains(from), let peer = peers.first(where: { $0.index == from }),
            guest.dialled == nil ? !peer.isDialled : guest.dialled?.index == from
        else { return sendAway() }
        let due = StreamHello(run: run, from: from, to: index)
        var opening: StreamSeal?
        if isSealed {
            guard let key = peer.receiveKey.flatMap(StreamKey.bytes) else { return sendAway() }
            opening = due.opened(guest.heard, key: key)
            if opening == nil { return sendAway() }
        } else {
            let mayBePlain = peer.receiveKey == nil || guest.isLocal
            guard mayBePlain, due.isProved(byPlain: guest.heard, token: token) else { return sendAway() }
        }
        if guest.dialled == nil && !say(hello: guest, to: peer) { return sendAway() }
        settle(guest.descriptor)
        met.insert(from)
        streams.adopt(MirrorStream(guest.descriptor, sealing: guest.sealing, opening: opening), peer: from)
        return false
    }

    private enum Connection { case waiting, made, failed }

    private func connection(_ guest: Guest) -> Connection {
        var watched = pollfd(fd: guest.descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&watched, 1, 0) > 0 else { return .waiting }
        var code: Int32 = 0, size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(guest.descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        return code == 0 ? .made : .failed
    }

    private func say(hello guest: Guest, to peer: SetUp.Stream) -> Bool {
        let hello = StreamHello(run: run, from: index, to: peer.index)
        let bytes: [UInt8]
        if !guest.isLocal, let key = peer.sendKey.flatMap(StreamKey.bytes) {
            (bytes, guest.sealing) = hello.sealed(key: key)
        } else {
            bytes = hello.plain(token: token)
        }
        return send(guest.descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// Exactly a hello and nothing behind it. Nil: what came is none; nil inside: not all of its head has come.
    private func receiveHello(_ guest: Guest) -> (from: Int, to: Int, isSealed: Bool, size: Int)?? {
        while true {
            let head = StreamHello.head(of: guest.heard)
            if head == nil && guest.heard.count >= StreamHello.headSize { return nil }
            let wanted = (head?.size ?? StreamHello.headSize) - guest.heard.count
            if wanted == 0 { return .some(head) }
            var bytes = [UInt8](repeating: 0, count: min(wanted, Self.strangerBytes))
            let count = recv(guest.descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count < 0 { return errno == EAGAIN || errno == EINTR ? .some(head) : nil }
            if count == 0 { return nil }
            guest.heard += bytes[..<count]
        }
    }

    /// From here on the socket belongs to the frames: small messages leave at once, and receives sleep. No time-out of the
    /// kernel: it would take a host that has no time to read for one that is lost. The links of the run tell those apart.
    private func settle(_ descriptor: Int32) {
        func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        var slice = timeval(tv_sec: 0, tv_usec: 250_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &slice, socklen_t(MemoryLayout<timeval>.size))
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
    }

    private static func address(of descriptor: Int32) -> String {
        var storage = sockaddr_storage(), size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let code = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getpeername(descriptor, address, &size) == 0
                    ? getnameinfo(address, size, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST) : -1
            }
        }
        guard code == 0 else { return "an address that is gone" }
        return host.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }
}
