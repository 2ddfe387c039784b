import Glibc
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesTransport

@Suite struct StreamMeetingTests {
    @Test(arguments: Way.allCases, [2, 4]) func peersMeetAndExchangeValues(way: Way, count: Int) throws {
        let mesh = try Mesh(count, way)
        mesh.meetAll()
        for host in 0..<count {
            let others = (0..<count).filter { $0 != host }.map { (peer: $0, phase: 0, count: 1) }
            try mesh.reserve(host, sends: [others], receives: [others])
            for other in others { try mesh.send(UInt64(host), from: host, to: other.peer) }
        }
        for host in 0..<count {
            for peer in 0..<count where peer != host {
                #expect(try mesh.receive(at: host, from: peer) == UInt64(peer))
            }
        }
        #expect(mesh.refused.withLock { $0 } == [])
    }

    /// Whether a peer goes by itself or is late, whoever waits for it does so on the one connection that it will answer.
    @Test func aPeerThatIsLate() throws {
        let mesh = try Mesh(2, .sealed)
        let port = mesh.doors[0].port!
        let missing = mesh.sideBySide { host -> [Int]? in
            // The dialler's hello waits at the door; longer than it would wait for a connection, which is what is tested.
            if host == 0 { usleep(2_300_000) }
            return mesh.meet(host)
        }
        #expect(missing == [[], []])
        try mesh.reserve(0, sends: [[(1, 0, 1)]], receives: [[]])
        try mesh.reserve(1, sends: [[]], receives: [[(0, 0, 1)]])
        try mesh.send(5, from: 0, to: 1)
        #expect(try mesh.receive(at: 1, from: 0) == 5)
        #expect(mesh.refused.withLock { $0 } == [], "only one connection came to port \(port)")
    }

    enum Stranger: CaseIterable {
        case silent, rubbish, tooMuch, halfAHello, plainWhereSealed, wrongToken, wrongKey, otherRun, otherIndex,
            reflected

        /// What it says to host 0 of a mesh that waits for host 1.
        func words(_ mesh: Mesh) -> [UInt8] {
            let hello = StreamHello(run: meshRun, from: 1, to: 0)
            let key = mesh.peers[0][0].receiveKey.flatMap(StreamKey.bytes)
            func say(_ hello: StreamHello) -> [UInt8] {
                key.map { hello.sealed(key: $0).bytes } ?? hello.plain(token: meshToken)
            }
            switch self {
            case .silent: return []
            case .rubbish: return (0..<92).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            case .tooMuch: return [UInt8](repeating: 0x48, count: 1 << 20)
            case .halfAHello: return Array(say(hello)[..<40])
            case .plainWhereSealed: return key == nil ? [0] : hello.plain(token: meshToken)
            case .wrongToken: return hello.plain(token: meshToken + "2")
            case .wrongKey: return hello.sealed(key: StreamSeal.makeKey()).bytes
            case .otherRun: return say(StreamHello(run: meshRun ^ 1, from: 1, to: 0))
            case .otherIndex: return say(StreamHello(run: meshRun, from: 1, to: 2))
            case .reflected: return say(StreamHello(run: meshRun, from: 0, to: 1))
            }
        }
    }

    @Test(arguments: [Way.plain, .sealed], Stranger.allCases) func aStrangerIsSentAway(way: Way, stranger: Stranger)
        throws
    {
        let mesh = try Mesh(2, way)
        let caller = Caller(port: mesh.doors[0].port!)
        let words = stranger.words(mesh)
        let missing = mesh.sideBySide { host -> [Int]? in
            if host == 0 { return mesh.meet(host) }
            let thread = try! startThread("a stranger") { caller.say(words) }
            defer { pthread_join(thread, nil) }
            // The peer comes when the stranger is gone: nobody else's coming ends its time.
            #expect(caller.isSentAway)
            return mesh.meet(host)
        }
        #expect(missing == [[], []])
        #expect(mesh.refused.withLock { $0 } == ["127.0.0.1"])
    }

    @Test func manyStrangersKeepNobodyOut() throws {
        let mesh = try Mesh(2, .sealed)
        let port = mesh.doors[0].port!
        let missing = mesh.sideBySide { host -> [Int]? in
            if host == 0 { return mesh.meet(host) }
            let strangers = (0..<400).map { _ in Caller(port: port) }
            defer { withExtendedLifetime(strangers) {} }
            return mesh.meet(host)
        }
        #expect(missing == [[], []])
    }

    @Test(arguments: [Way.plain, .sealed]) func thePeerThatComesTwiceIsMetOnce(way: Way) throws {
        let mesh = try Mesh(3, way)
        let port = mesh.doors[0].port!, peer = mesh.peers[0][0]
        let hello = StreamHello(run: meshRun, from: 1, to: 0)
        let bytes = peer.receiveKey.flatMap(StreamKey.bytes).map { hello.sealed(key: $0).bytes }
        let missing = mesh.sideBySide { host -> [Int]? in
            switch host {
            case 0: return mesh.meet(0)
            case 1:
                // Host 2, who also dials 0, is not there yet; so 0 still listens when the same hello comes again.
                let first = Caller(port: port, saying: bytes ?? hello.plain(token: meshToken))
                let answer = first.hear(bytes == nil ? StreamHello.plainSize : StreamHello.sealedSize)
                #expect(StreamHello.head(of: answer)?.to == 1)
                let second = Caller(port: port, saying: bytes ?? hello.plain(token: meshToken))
                #expect(second.isSentAway)
                mesh.alarms[2].raise()
                mesh.alarms[0].raise()
                return nil
            default: return eventually { mesh.alarms[2].isRaised } ? nil : []
            }
        }
        #expect(missing == [nil, nil, nil])
        #expect(mesh.refused.withLock { $0 } == ["127.0.0.1"])
    }

    @Test func keysThatDoNotFitMeetNobody() throws {
        let mesh = try Mesh(2, .sealed)
        mesh.peers[0][0].receiveKey = StreamKey.generate()
        #expect(mesh.sideBySide { mesh.meet($0, seconds: 1) } == [[1], [0]])
        #expect(mesh.refused.withLock { !$0.isEmpty })
    }

    /// A dialler with keys takes no plain answer: whoever sits between can't talk it out of them.
    @Test func aPlainAnswerIsNoneWhereKeysAre() throws {
        let mesh = try Mesh(2, .sealed)
        mesh.peers[0][0].sendKey = nil
        mesh.peers[0][0].receiveKey = mesh.peers[1][0].sendKey
        #expect(mesh.sideBySide { mesh.meet($0, seconds: 1) }[1] == [0])
    }

    @Test func nobodyComes() throws {
        let mesh = try Mesh(2, .plain)
        #expect(mesh.meet(0, seconds: 0.05) == [1])
        #expect(mesh.meet(1, seconds: 0.05) == [0], "its door is closed by now")
    }

    @Test func anAlarmEndsAMeeting() throws {
        let mesh = try Mesh(2, .plain)
        mesh.alarms[0].raise()
        #expect(mesh.meet(0) == nil)
    }

    @Test func socketFilesAreForTheirUserAndGoWithTheDoor() throws {
        let mesh = try Mesh(2, .file)
        let path = mesh.doors[0].path!
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        mesh.meetAll()
        #expect(access(path, F_OK) != 0)
        mesh.doors[1].listen(path: "/tmp/" + String(repeating: "x", count: 200))
        #expect(mesh.doors[1].path == nil)
    }

    /// Everywhere means IPv6 and IPv4, as ZeroMQ understands it.
    @Test(arguments: ["127.0.0.1", "[::1]"]) func everywhere(host: String) throws {
        let door = StreamDoor(), port = freePort()
        try door.listen(addresses: ["*"], port: port)
        let descriptor = try #require(try StreamAddress(endpoint: "tcp://\(host):\(port)").dial())
        defer { close(descriptor) }
        #expect(
            eventually {
                let accepted = accept(door.listeners[0].descriptor, nil, nil)
                if accepted >= 0 { close(accepted) }
                return accepted >= 0
            })
        #expect(throws: TransportError.self) { try StreamDoor().listen(addresses: ["*"], port: port) }
    }
}
