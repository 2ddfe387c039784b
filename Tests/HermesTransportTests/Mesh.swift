import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import Synchronization
import Testing

@testable import HermesTransport

let meshRun: UInt64 = 0x0123_4567_89ab_cdef
let meshToken = String(repeating: "t", count: 24)

/// How the hosts of a mesh reach each other.
enum Way: String, CaseIterable, Sendable {
    /// TCP without keys.
    case plain
    /// TCP with keys.
    case sealed
    /// Socket files, with keys that nobody needs.
    case file
}

/// Hosts of one run in this process, each with a door, an alarm and streams to all others. The later of two dials.
final class Mesh: @unchecked Sendable {
    let alarms: [Alarm], doors: [StreamDoor], streams: [MirrorStreams]
    var peers: [[SetUp.Stream]]
    /// Addresses of those who came and were no peers.
    let refused = Mutex<[String]>([])
    private let folder: String

    init(_ count: Int, _ way: Way) throws {
        var template = Array("/tmp/hermes-mesh-XXXXXX".utf8CString)
        folder = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        alarms = try (0..<count).map { _ in try Alarm() }
        doors = (0..<count).map { _ in StreamDoor() }
        streams = alarms.enumerated().map {
            MirrorStreams(run: meshRun, index: $0, participants: count, alarm: $1)
        }
        peers = Array(repeating: [], count: count)
        for (index, door) in doors.enumerated() {
            try door.listen(addresses: ["127.0.0.1"], port: freePort())
            if way == .file { door.listen(path: "\(folder)/\(index)") }
        }
        for later in 0..<count {
            for earlier in 0..<later {
                let keys = way == .plain ? nil : (StreamKey.generate(), StreamKey.generate())
                peers[later].append(
                    SetUp.Stream(
                        index: earlier, endpoint: "tcp://127.0.0.1:\(doors[earlier].port!)", path: doors[earlier].path,
                        sendKey: keys?.0, receiveKey: keys?.1))
                peers[earlier].append(
                    SetUp.Stream(index: later, endpoint: nil, path: nil, sendKey: keys?.1, receiveKey: keys?.0))
            }
        }
    }

    deinit {
        doors.forEach { $0.close() }
        rmdir(folder)
    }

    /// What `meet` says at one host: those that were not met.
    func meet(_ host: Int, seconds: Double = 20) -> [Int]? {
        let meeting = StreamMeeting(
            run: meshRun, index: host, token: meshToken, alarm: alarms[host],
            refused: { address in self.refused.withLock { $0.append(address) } })
        return try? meeting.meet(
            peers[host], through: doors[host], into: streams[host], until: deadline(after: seconds))
    }

    func meetAll() {
        let missing = sideBySide { self.meet($0) }
        #expect(missing == Array(repeating: [], count: streams.count))
    }

    /// Does it for each host on a thread of its own. Whoever takes longer than half a minute is woken by its alarm.
    func sideBySide<Value: Sendable>(_ body: @escaping (Int) -> Value) -> [Value] {
        let results = Mutex<[Int: Value]>([:])
        let threads = streams.indices.map { host in
            try! startThread("host \(host)") {
                let value = body(host)
                results.withLock { $0[host] = value }
            }
        }
        _ = eventually { results.withLock { $0.count } == threads.count }
        if results.withLock({ $0.count }) < threads.count { alarms.forEach { $0.raise() } }
        threads.forEach { pthread_join($0, nil) }
        return results.withLock { results in streams.indices.map { results[$0]! } }
    }

    /// Sets memory aside for what a host sends and receives in each phase: (peer, phase of the message, values).
    func reserve(
        _ host: Int, sends: [[(peer: Int, phase: Int, count: Int)]], receives: [[(peer: Int, phase: Int, count: Int)]]
    ) throws(LinkFault) {
        let phases = Array(repeating: [Int](), count: sends.count)
        var share = HostShare(
            host: host,
            plan: Plan(
                simulationName: "mesh", rateHz: 100, modules: [], phases: phases, registry: SignalRegistry(),
                deliveries: []), slots: [])
        func parts(_ all: [[(peer: Int, phase: Int, count: Int)]]) -> [[HostShare.Part]] {
            all.map { $0.map { HostShare.Part(peer: $0.peer, phase: $0.phase, offset: 0, count: $0.count) } } + [[]]
        }
        (share.sends, share.receives) = (parts(sends), parts(receives))
        try streams[host].reserve(share)
    }

    /// Sends one mirror of that many values, all of them `bits`.
    func send(_ bits: UInt64, from: Int, to: Int, frame: UInt64 = 1, phase: Int = 0, count: Int = 1) throws(LinkFault) {
        let values = [UInt64](repeating: bits, count: count)
        let header = FrameHeader(.mirror, run: meshRun, frame: frame, phase: phase, count: count)
        do {
            try values.withUnsafeBytes { try streams[from].send(header, to: to, payload: $0) }
        } catch { throw error as! LinkFault }
        // Only `flush` waits.
    }

    /// The next mirror's values when all are the same; nil for any other, and when none has come within 20 s.
    func receive(
        at host: Int, from peer: Int, frame: UInt64 = 1, phase: Int = 0, count: Int = 1, seconds: Double = 20
    ) throws(LinkFault) -> UInt64? {
        let values = try streams[host].nextMirror(
            from: peer, epoch: 0, frame: frame, phase: phase, count: count, until: deadline(after: seconds))
        guard let slots = values.map({ (0..<count).map($0.slot) }), slots.allSatisfy({ $0 == slots[0] }) else {
            return nil
        }
        return slots[0]
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func slot(_ index: Int) -> UInt64 { loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) }
}

/// Waits until it is so; false after half a minute.
func eventually(_ isSo: () -> Bool) -> Bool {
    let limit = deadline(after: 30)
    while !isSo() {
        if monotonicNow() > limit { return false }
        usleep(1000)
    }
    return true
}

/// A port of loopback that nobody has.
func freePort() -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in(), size = socklen_t(MemoryLayout<sockaddr_in>.size)
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return withUnsafeMutablePointer(to: &address) { address in
        address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, size)
            getsockname(descriptor, $0, &size)
        }
        return Int(UInt16(bigEndian: address.pointee.sin_port))
    }
}

/// Somebody who connects and says whatever it likes.
final class Caller: @unchecked Sendable {
    let descriptor: Int32

    init(port: Int, saying bytes: [UInt8] = []) {
        descriptor = try! StreamAddress(host: "127.0.0.1", port: port).dial()!
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        say(bytes)
    }

    deinit { close(descriptor) }

    func say(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    /// Up to so many bytes, or fewer at the end of the connection.
    func hear(_ count: Int) -> [UInt8] {
        var heard: [UInt8] = []
        while heard.count < count {
            var bytes = [UInt8](repeating: 0, count: count - heard.count)
            let received = recv(descriptor, &bytes, bytes.count, 0)
            if received <= 0 { break }
            heard += bytes[..<received]
        }
        return heard
    }

    /// Waits until the other side has closed, without having said anything.
    var isSentAway: Bool {
        eventually {
            var byte: UInt8 = 0
            let received = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT))
            return received == 0 || received < 0 && errno != EAGAIN
        }
    }
}
