import Glibc
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesTransport

@Suite struct MirrorStreamsTests {
    /// Values far beyond what the kernel holds: 8 MiB.
    static let many = 1 << 20

    @Test(arguments: Way.allCases) func twoThatBothSendFirst(way: Way) throws {
        let mesh = try Mesh(2, way)
        mesh.meetAll()
        for host in 0...1 {
            try mesh.reserve(host, sends: [[(1 - host, 0, Self.many)]], receives: [[(1 - host, 0, Self.many)]])
        }
        let seen = mesh.sideBySide { host in
            (1...3).map { frame -> UInt64? in
                try? mesh.exchange(
                    host, sends: [1 - host], receives: [1 - host], frame: UInt64(frame), count: Self.many)[0]
            }
        }
        #expect(seen == [[101, 201, 301], [100, 200, 300]])
    }

    @Test(arguments: Way.allCases) func threeInACircle(way: Way) throws {
        let mesh = try Mesh(3, way)
        mesh.meetAll()
        for host in 0..<3 {
            try mesh.reserve(
                host, sends: [[((host + 1) % 3, 0, Self.many)]], receives: [[((host + 2) % 3, 0, Self.many)]])
        }
        let seen = mesh.sideBySide { host in
            (1...3).map { frame -> UInt64? in
                try? mesh.exchange(
                    host, sends: [(host + 1) % 3], receives: [(host + 2) % 3], frame: UInt64(frame), count: Self.many)[
                        0]
            }
        }
        #expect(seen == [[102, 202, 302], [100, 200, 300], [101, 201, 301]])
    }

    /// Host 2 has much for 0 early in the frame, which 0 wants at its end, after what 1 makes of something that 2 sends later.
    @Test(arguments: Way.allCases) func whoeverWaitsForOneTakesWhatOthersSend(way: Way) throws {
        let mesh = try Mesh(3, way)
        mesh.meetAll()
        try mesh.reserve(0, sends: [[], [], []], receives: [[], [], [(1, 2, 1), (2, 0, Self.many)]])
        try mesh.reserve(1, sends: [[], [], [(0, 2, 1)]], receives: [[], [(2, 1, 1)], []])
        try mesh.reserve(2, sends: [[(0, 0, Self.many)], [(1, 1, 1)], []], receives: [[], [], []])
        let seen = mesh.sideBySide { host -> [UInt64?]? in
            do throws(LinkFault) {
                switch host {
                case 0:
                    return [
                        try mesh.receive(at: 0, from: 1, phase: 2), try mesh.receive(at: 0, from: 2, count: Self.many),
                    ]
                case 1:
                    let value = try mesh.receive(at: 1, from: 2, phase: 1) ?? 0
                    try mesh.send(value + 1, from: 1, to: 0, phase: 2)
                    try mesh.streams[1].flush()
                default:
                    try mesh.send(3, from: 2, to: 0, count: Self.many)
                    try mesh.streams[2].flush()
                    try mesh.send(7, from: 2, to: 1, phase: 1)
                    try mesh.streams[2].flush()
                }
                return []
            } catch { return nil }
        }
        #expect(seen == [[8, 3], [], []])
    }

    @Test(arguments: Way.allCases) func oneThatRunsAheadWaitsInTheKernel(way: Way) throws {
        let mesh = try Mesh(2, way), frames: UInt64 = 2000, count = 500
        mesh.meetAll()
        try mesh.reserve(0, sends: [[(1, 0, count)]], receives: [[]])
        try mesh.reserve(1, sends: [[]], receives: [[(0, 0, count)]])
        let seen = mesh.sideBySide { host -> Bool in
            (1...frames).allSatisfy { frame in
                if host == 1 { return (try? mesh.receive(at: 1, from: 0, frame: frame, count: count)) == frame }
                return (try? mesh.exchange(0, sends: [1], receives: [], frame: frame, count: count)) != nil
            }
        }
        #expect(seen == [true, true])
    }

    @Test func nothingComesUntilTheDeadline() throws {
        let mesh = try pair(.plain)
        #expect(try mesh.receive(at: 0, from: 1, seconds: 0.01) == nil)
        try mesh.send(4, from: 1, to: 0)
        #expect(try mesh.receive(at: 0, from: 1) == 4)
    }

    /// With the deadline 0; three of them, so that those who wait take from everybody.
    @Test(arguments: Way.allCases, [2, 3]) func aLookWaitsForNothingAndTakesWhatIsThere(way: Way, hosts: Int) throws {
        let mesh = try Mesh(hosts, way)
        mesh.meetAll()
        let peers = 1..<hosts
        try mesh.reserve(0, sends: [[]], receives: [peers.map { ($0, 0, Self.many) }])
        for peer in peers { try mesh.reserve(peer, sends: [[(0, 0, Self.many)]], receives: [[]]) }
        func look(_ peer: Int) throws(LinkFault) -> Int? {
            try mesh.streams[0].nextMirror(
                from: peer, epoch: 0, frame: 1, phase: 0, count: Self.many, until: 0
            )?.count
        }
        for peer in peers { #expect(try look(peer) == nil) }
        let sender = try startThread("a sender") {
            for peer in peers {
                try? mesh.send(7, from: peer, to: 0, count: Self.many)
                try? mesh.streams[peer].flush()
            }
        }
        defer { pthread_join(sender, nil) }
        for peer in peers {
            #expect(eventually { (try? look(peer)) == 8 * Self.many })
            #expect(try look(peer) == nil)
        }
        for peer in peers { mesh.streams[peer].close() }
        #expect(eventually { fault { () throws(LinkFault) in _ = try look(1) } != nil })
    }

    @Test(arguments: Way.allCases) func anAlarmWakesWhoeverWaits(way: Way) throws {
        let mesh = try pair(way)
        let faults = mesh.sideBySide { host -> LinkFault? in
            if host == 1 {
                usleep(20_000)
                mesh.alarms[0].raise()
                return nil
            }
            return fault { () throws(LinkFault) in _ = try mesh.receive(at: 0, from: 1) }
        }
        #expect(faults == [.alarm, nil])
    }

    @Test(arguments: Way.allCases) func anAlarmWakesWhoeverCanNotSend(way: Way) throws {
        let mesh = try Mesh(2, way)
        mesh.meetAll()
        try mesh.reserve(0, sends: [[(1, 0, Self.many)]], receives: [[]])
        let faults = mesh.sideBySide { host -> LinkFault? in
            if host == 1 {
                usleep(20_000)
                mesh.alarms[0].raise()
                return nil
            }
            return fault { () throws(LinkFault) in
                try mesh.send(1, from: 0, to: 1, count: Self.many)
                try mesh.streams[0].flush()
            }
        }
        #expect(faults == [.alarm, nil])
    }

    @Test(arguments: Way.allCases) func whoClosesIsUnreachable(way: Way) throws {
        let mesh = try pair(way)
        mesh.streams[1].close()
        #expect(fault { () throws(LinkFault) in _ = try mesh.receive(at: 0, from: 1) } == .unreachable(peer: 1))
        #expect(fault { () throws(LinkFault) in try mesh.send(1, from: 1, to: 0) } == .unreachable(peer: 0))
    }

    /// Records by hand, from somebody who holds what a peer holds.
    @Test(arguments: [Way.plain, .sealed]) func aStreamThatEndsWithinARecord(way: Way) throws {
        let (mesh, caller, seal) = try impostor(way)
        caller.say(Array(record(seal, mirror()).dropLast(3)))
        shutdown(caller.descriptor, Int32(SHUT_RDWR))
        #expect(fault { () throws(LinkFault) in _ = try mesh.receive(at: 0, from: 1) } == .unreachable(peer: 1))
    }

    static let wrong: [(words: [UInt8], cause: String)] = [
        (mirror(frame: 2), "where those of frame 1"), (mirror(phase: 1), "where those of frame 1"),
        (mirror(values: 0), "where those of frame 1"), (mirror(run: meshRun ^ 1), "no mirror"),
        (mirror(kind: .step), "no mirror"), ([UInt8](repeating: 1, count: 40), "no mirror"),
    ]

    @Test(arguments: [Way.plain, .sealed], wrong.indices) func whatIsNotDue(way: Way, index: Int) throws {
        let (mesh, caller, seal) = try impostor(way), (words, cause) = Self.wrong[index]
        caller.say(record(seal, words))
        expectProtocolError(mesh, cause)
    }

    @Test(arguments: [Way.plain, .sealed], [0, 31, 58, 1 << 20, 0xffff_ffff]) func aLengthThatCanNotBe(
        way: Way, length: UInt32
    ) throws {
        let (mesh, caller, _) = try impostor(way)
        caller.say(withUnsafeBytes(of: length.littleEndian) { Array($0) } + [UInt8](repeating: 0, count: 100))
        expectProtocolError(mesh, "sent a record of \(length) bytes")
    }

    @Test func whatTheKeyHasNotSealedNext() throws {
        let (mesh, caller, seal) = try impostor(.sealed)
        var bytes = record(seal, mirror())
        bytes[20] ^= 1
        caller.say(bytes)
        expectProtocolError(mesh, "tampers")
    }

    @Test func aRecordThatComesTwice() throws {
        let (mesh, caller, seal) = try impostor(.sealed)
        let bytes = record(seal, mirror())
        caller.say(bytes + bytes)
        #expect(try mesh.receive(at: 0, from: 1) == 6)
        expectProtocolError(mesh, "tampers")
    }

    @Test func mirrorsOfAnEpochThatIsOverAreDropped() throws {
        let (mesh, caller, _) = try impostor(.plain)
        caller.say(record(nil, mirror()) + record(nil, mirror(epoch: 1)))
        let values = try mesh.streams[0].nextMirror(
            from: 1, epoch: 1, frame: 1, phase: 0, count: 1, until: deadline(after: 20))
        #expect(values?.count == 8)
    }

    @Test func moreThanThePlanSays() throws {
        let mesh = try pair(.sealed)
        for count in [2, Self.many] {
            guard
                case .protocolError(1, _) = fault({ () throws(LinkFault) in
                    try mesh.send(1, from: 0, to: 1, count: count)
                })
            else {
                Issue.record("a mirror of \(count) values goes")
                continue
            }
        }
    }

    @Test func mirrorsThatNoStreamLeadsTo() throws {
        let mesh = try Mesh(3, .plain)
        guard
            case .protocolError(2, _) = fault({ () throws(LinkFault) in
                try mesh.reserve(0, sends: [[(2, 0, 1)]], receives: [[]])
            })
        else {
            Issue.record("there is no stream to host 2")
            return
        }
    }

    // MARK: Parts

    /// Two that owe each other one value a frame.
    private func pair(_ way: Way) throws -> Mesh {
        let mesh = try Mesh(2, way)
        mesh.meetAll()
        for host in 0...1 { try mesh.reserve(host, sends: [[(1 - host, 0, 1)]], receives: [[(1 - host, 0, 1)]]) }
        return mesh
    }

    /// Host 0 of a pair, and in the place of host 1 somebody who says what a test wants.
    private func impostor(_ way: Way) throws -> (Mesh, Caller, StreamSeal?) {
        let mesh = try Mesh(2, way)
        let hello = StreamHello(run: meshRun, from: 1, to: 0), caller = Caller(port: mesh.doors[0].port!)
        var seal: StreamSeal?
        if let key = mesh.peers[0][0].receiveKey.flatMap(StreamKey.bytes) {
            let (bytes, sealing) = hello.sealed(key: key)
            caller.say(bytes)
            seal = sealing
        } else {
            caller.say(hello.plain(token: meshToken))
        }
        #expect(mesh.meet(0) == [])
        try mesh.reserve(0, sends: [[(1, 0, 100)]], receives: [[(1, 0, 1)]])
        return (mesh, caller, seal)
    }

    private func expectProtocolError(_ mesh: Mesh, _ cause: String) {
        guard
            case .protocolError(1, let said) = fault({ () throws(LinkFault) in _ = try mesh.receive(at: 0, from: 1) }),
            said.contains(cause)
        else {
            Issue.record("nobody complains: \(cause)")
            return
        }
    }
}

/// A mirror's bytes; those that are due unless it is said otherwise.
private func mirror(
    kind: FrameHeader.Kind = .mirror, run: UInt64 = meshRun, epoch: UInt32 = 0, frame: UInt64 = 1, phase: Int = 0,
    values: Int = 1
) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: FrameHeader.size)
    let header = FrameHeader(kind, run: run, epoch: epoch, frame: frame, phase: phase, count: values)
    bytes.withUnsafeMutableBytes { header.store(into: $0.baseAddress!) }
    return bytes + Array(repeating: [6, 0, 0, 0, 0, 0, 0, 0], count: values).joined()
}

private func record(_ seal: StreamSeal?, _ clear: [UInt8]) -> [UInt8] {
    var bytes = clear
    if let seal {
        bytes = [UInt8](repeating: 0, count: clear.count + StreamSeal.overhead)
        clear.withUnsafeBytes { clear in bytes.withUnsafeMutableBytes { seal.seal(clear, into: $0.baseAddress!) } }
    }
    return withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { Array($0) } + bytes
}

private func fault(_ body: () throws(LinkFault) -> Void) -> LinkFault? {
    do throws(LinkFault) {
        try body()
        return nil
    } catch { return error }
}

extension Mesh {
    /// A frame's exchange of one phase: all is sent, then all is received; 100 times the frame and the host that sends.
    func exchange(
        _ host: Int, sends: [Int], receives: [Int], frame: UInt64, count: Int
    ) throws(LinkFault) -> [UInt64?] {
        for peer in sends {
            try send(
                sends.count == 1 && receives.isEmpty ? frame : 100 * frame + UInt64(host), from: host, to: peer,
                frame: frame, count: count)
        }
        try streams[host].flush()
        var seen: [UInt64?] = []
        for peer in receives { seen.append(try receive(at: host, from: peer, frame: frame, count: count)) }
        return seen
    }
}
