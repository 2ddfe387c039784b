import CHermes
import HermesModel
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesNode

/// The bytes of messages and announcements, put together from docs/processes.md.
enum Bytes {
    static func u32(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

    static func message(_ type: Int, sequence: Int = 0, _ body: [UInt8] = []) -> [UInt8] {
        Array("HMFF".utf8) + u32(type) + u32(sequence) + u32(body.count) + body
    }

    static func signal(
        _ name: String, type: UInt8 = 0, flags: UInt8 = 0, unit: String = "", summary: String = ""
    ) -> [UInt8] {
        [type, flags, 0, 0] + u32(name.utf8.count) + u32(unit.utf8.count) + u32(summary.utf8.count)
            + Array(name.utf8) + Array(unit.utf8) + Array(summary.utf8)
    }

    static func announcement(_ signals: [UInt8]...) -> [UInt8] { u32(signals.count) + signals.flatMap { $0 } }
}

@Suite struct FifoParserTests {
    private func feed(_ parser: inout FifoParser, _ bytes: some Collection<UInt8>) {
        Array(bytes).withUnsafeBytes { parser.append($0) }
    }

    @Test(arguments: [1, 2, 3, 16, 17, 1000]) func messagesComeWholeInWhateverPieces(size: Int) throws {
        let stream =
            Bytes.message(1, [1, 2, 3]) + Bytes.message(2, sequence: 7) + Bytes.message(4, sequence: 8, [9])
            + Bytes.message(3, sequence: 1 << 31, Array(repeating: 5, count: 300))
        var parser = FifoParser(), messages: [FifoMessage] = []
        for start in stride(from: 0, to: stream.count, by: size) {
            feed(&parser, stream[start..<min(start + size, stream.count)])
            while let message = try parser.next() { messages.append(message) }
        }
        #expect(
            messages == [
                FifoMessage(type: 1, sequence: 0, body: [1, 2, 3]), FifoMessage(type: 2, sequence: 7, body: []),
                FifoMessage(type: 4, sequence: 8, body: [9]),
                FifoMessage(type: 3, sequence: 1 << 31, body: Array(repeating: 5, count: 300)),
            ])
    }

    @Test func aTruncatedMessageIsWaitedFor() throws {
        let whole = Bytes.message(2, sequence: 3, [1, 2, 3, 4])
        for length in 0..<whole.count {
            var parser = FifoParser()
            feed(&parser, whole[..<length])
            #expect(try parser.next() == nil)
            feed(&parser, whole[length...])
            #expect(try parser.next()?.body == [1, 2, 3, 4])
            #expect(try parser.next() == nil)
        }
    }

    @Test(arguments: [
        Array("hello, this is no message".utf8), Array("HMFG".utf8) + Array(repeating: 0, count: 12),
        Bytes.message(0), Bytes.message(6), Bytes.message(16), Bytes.message(-1),
        Array("HMFF".utf8) + Bytes.u32(6) + Bytes.u32(0) + Bytes.u32(FifoParser.longest + 1),
    ]) func whatIsNoMessageIsRefusedAtItsHeader(bytes: [UInt8]) {
        var parser = FifoParser()
        feed(&parser, bytes)
        let error = #expect(throws: FifoError.self) { try parser.next() }
        #expect(error?.cause == "wrote something else than a message on its reply FIFO")
    }

    @Test(arguments: [FifoParser.longest + 1, 1 << 31, -1]) func aMessageThatIsTooLongIsNamed(length: Int) {
        for (type, what) in [(1, "an announcement"), (2, "a reply"), (3, "a state")] {
            var parser = FifoParser()
            feed(&parser, Array("HMFF".utf8) + Bytes.u32(type) + Bytes.u32(0) + Bytes.u32(length))
            let error = #expect(throws: FifoError.self) { try parser.next() }
            let size = UInt32(truncatingIfNeeded: length)
            #expect(error?.cause == "sent \(what) of \(size) bytes; the longest has 268435456")
        }
    }

    @Test func theLongestBodyIsStillAMessage() throws {
        var parser = FifoParser()
        feed(&parser, Array("HMFF".utf8) + Bytes.u32(3) + Bytes.u32(0) + Bytes.u32(FifoParser.longest))
        #expect(try parser.next() == nil)
        #expect(FifoParser.longest == 256 << 20)
    }

    @Test(arguments: [0, 1, 5, 1000, FifoParser.longestReply])
    func ofALongReplyOnlyItsBeginningIsKept(surplus: Int) throws {
        let body: [UInt8] = [7, 0, 0, 0] + Array(repeating: 65, count: FifoParser.longestReason + surplus)
        let stream = Bytes.message(2, sequence: 3, body) + Bytes.message(2, sequence: 4, [0, 0, 0, 0])
        for size in [999, FifoParser.longestReply + 16, stream.count] {
            var parser = FifoParser(), messages: [FifoMessage] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                feed(&parser, stream[start..<min(start + size, stream.count)])
                while let message = try parser.next() { messages.append(message) }
            }
            #expect(messages.map(\.sequence) == [3, 4])
            #expect(messages.first?.body == Array(body.prefix(FifoParser.longestReply)))
            #expect(parser.kept == 0)
        }
    }

    @Test func theLongestReplyIsNotKept() throws {
        var parser = FifoParser()
        feed(&parser, Array("HMFF".utf8) + Bytes.u32(2) + Bytes.u32(1) + Bytes.u32(FifoParser.longest))
        let piece = [UInt8](repeating: 0, count: 1 << 16)
        for _ in 1..<FifoParser.longest / piece.count {
            feed(&parser, piece)
            #expect(try parser.next() == nil)
            try #require(parser.kept <= 2 * piece.count)
        }
        feed(&parser, piece)
        #expect(try parser.next()?.body.count == FifoParser.longestReply)
    }

    @Test(arguments: [4, 5]) func aWordIsShort(type: Int) {
        var parser = FifoParser()
        feed(&parser, Array("HMFF".utf8) + Bytes.u32(type) + Bytes.u32(0) + Bytes.u32(65537))
        let error = #expect(throws: FifoError.self) { try parser.next() }
        #expect(error?.cause == "sent a message of 65537 bytes; the longest has 65536")
    }

    @Test func whatIsNotAdmittedIsKnownByItsHeader() {
        var parser = FifoParser()
        feed(&parser, Array("HMFF".utf8) + Bytes.u32(3) + Bytes.u32(9) + Bytes.u32(FifoParser.longest))
        let refused = FifoError(cause: "not now")
        let error = #expect(throws: FifoError.self) {
            try parser.next { (type, sequence) throws(FifoError) in if type == 3 && sequence == 9 { throw refused } }
        }
        #expect(error == refused)
    }

    @Test func nothingIsKeptOfAStreamThatWasAbandoned() throws {
        var parser = FifoParser()
        feed(&parser, Array("rubbish, and more".utf8))
        parser.abandon()
        feed(&parser, Bytes.message(2, sequence: 1, [0, 0, 0, 0]))
        #expect(try parser.next() == nil)
        #expect(parser.kept == 0)
    }

    @Test func whatWasReadIsNotKept() throws {
        // Always half a message behind: the buffer never runs empty.
        let message = Bytes.message(2, sequence: 1, Array(repeating: 0, count: 10_000))
        var parser = FifoParser()
        feed(&parser, message[..<5000])
        for _ in 0..<300 {
            feed(&parser, message[5000...] + message[..<5000])
            #expect(try parser.next() != nil)
            #expect(try parser.next() == nil)
            try #require(parser.kept <= 2 * message.count)
        }
    }
}

@Suite struct AnnouncementDecoderTests {
    private func cause(_ bytes: [UInt8]) -> String? {
        do {
            _ = try AnnouncementDecoder.decode(bytes)
            return nil
        } catch {
            return error.cause
        }
    }

    @Test func everyFieldArrives() throws {
        let signals = try AnnouncementDecoder.decode(
            Bytes.announcement(
                Bytes.signal("plain"),
                Bytes.signal("a.dotted.näme", type: 4, flags: 1 | 4, unit: "m/s²", summary: "Tempo"),
                Bytes.signal("hidden", type: 2, flags: 2 | 8), Bytes.signal("both", type: 1, flags: 12),
                Bytes.signal("named", type: 3, flags: 16)))
        #expect(
            signals == [
                AnnouncedSignal(name: "plain"),
                AnnouncedSignal(
                    name: "a.dotted.näme", type: .bool, writable: true, direction: .input, unit: "m/s²",
                    summary: "Tempo"),
                AnnouncedSignal(name: "hidden", type: .i64, published: false, direction: .output),
                AnnouncedSignal(name: "both", type: .f32, direction: .both),
                AnnouncedSignal(name: "named", type: .i32, isNamedAccess: true),
            ])
        #expect(try AnnouncementDecoder.decode(Bytes.announcement()) == [])
    }

    @Test func whatHermesWritesIsWhatItReads() throws {
        // One module after the other: libhermes holds them apart by thread.
        let made = hermes_context_create(
            "m", nil, "/x",
            {
                var signal = hermes_signal_t()
                signal.type = HERMES_I32
                signal.flags = UInt32(HERMES_WRITABLE | HERMES_OUTPUT)
                "speed".withCString { name in
                    "m/s".withCString { unit in
                        signal.name = name
                        signal.unit = unit
                        _ = hermes_declare(&signal)
                    }
                }
                let module = UnsafeMutablePointer<hermes_module_t>.allocate(capacity: 1)
                module.initialize(to: hermes_module_t())
                return module
            }, { $0?.deallocate() })
        let context = try #require(made)
        defer { hermes_context_destroy(context) }
        var size = 0
        let bytes = Array(UnsafeBufferPointer(start: hermes_context_announcement(context, &size), count: size))
        #expect(bytes == Bytes.announcement(Bytes.signal("speed", type: 3, flags: 1 | 8, unit: "m/s")))
        #expect(
            try AnnouncementDecoder.decode(bytes)
                == [AnnouncedSignal(name: "speed", type: .i32, writable: true, direction: .output, unit: "m/s")])
    }

    @Test func everyTruncationIsBroken() {
        let whole = Bytes.announcement(Bytes.signal("speed", unit: "m", summary: "fast"), Bytes.signal("height"))
        for length in 0..<whole.count { #expect(cause(Array(whole[..<length])) == "sent a broken announcement") }
        #expect(cause(whole + [0]) == "sent a broken announcement", "more than it says")
    }

    @Test func countsAndLengthsAreBoundedBeforeAnythingIsKept() {
        #expect(cause(Bytes.u32(-1)) == "sent a broken announcement")
        #expect(cause(Bytes.u32(2) + Bytes.signal("x")) == "sent a broken announcement")
        func lengths(_ name: Int, _ unit: Int, _ summary: Int) -> [UInt8] {
            Bytes.u32(1) + [0, 0, 0, 0] + Bytes.u32(name) + Bytes.u32(unit) + Bytes.u32(summary) + Array("xyz".utf8)
        }
        #expect(cause(lengths(-1, 0, 0))?.hasPrefix("announced a signal's name of 4294967295 bytes") == true)
        #expect(cause(lengths(4097, 0, 0)) == "announced a signal's name of 4097 bytes; the longest is 4096")
        for (name, unit, summary) in [(1, -1, 0), (1, 0, -1), (1, 65537, 0), (1, 0, 65537), (4, 0, 0), (1, 1, 2)] {
            #expect(cause(lengths(name, unit, summary)) == "sent a broken announcement")
        }
        #expect(cause(lengths(1, 1, 1)) == nil)
        #expect(cause(Bytes.announcement(Bytes.signal(String(repeating: "n", count: 4096)))) == nil)
    }

    @Test func typesNamesAndTextsAreChecked() {
        for type in [5, 6, 255] as [UInt8] {
            #expect(
                cause(Bytes.announcement(Bytes.signal("x", type: type)))
                    == "announced a signal of the unknown type \(type)")
        }
        #expect(cause(Bytes.announcement(Bytes.signal(""))) == "announced a signal without a name")
        for name in ["a\u{0}", "\n", "a\u{1B}[2J", "\u{7F}"] {
            #expect(
                cause(Bytes.announcement(Bytes.signal(name)))
                    == "announced a signal with a control character in its name")
        }
        #expect(
            cause(Bytes.announcement(Bytes.signal("x"), Bytes.signal("y"), Bytes.signal("x")))
                == "announced two signals of the name 'x'")
        let noText = Bytes.u32(1) + [0, 0, 0, 0] + Bytes.u32(2) + Bytes.u32(0) + Bytes.u32(0) + [0xC3, 0x28]
        #expect(cause(noText) == "announced a text that is not UTF-8")
    }
}

@Suite struct FifoFuzzTests {
    /// Two seconds of broken streams: nothing traps, and a decoded announcement keeps its promises.
    @Test(arguments: [1, 2] as [UInt64]) func brokenBytesAreSaidToBeBroken(seed: UInt64) {
        var random = SplitMix(state: seed), rounds = 0, decoded = 0, refused = 0
        let names = ["x", "speed", "position.x", "größe", ""]
        let limit = monotonicNow() + 1_200_000_000
        while monotonicNow() < limit {
            rounds += 1
            var signals: [UInt8] = []
            let count = Int.random(in: 0...5, using: &random)
            for _ in 0..<count {
                signals += Bytes.signal(
                    names.randomElement(using: &random)!, type: UInt8.random(in: 0...6, using: &random),
                    flags: UInt8.random(in: 0...255, using: &random), unit: names.randomElement(using: &random)!)
            }
            var stream = Bytes.message(1, Bytes.u32(count) + signals) + Bytes.message(2, sequence: 5, [0, 0, 0, 0])
            for _ in 0..<Int.random(in: 0...6, using: &random) {
                let at = Int.random(in: 0..<stream.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: stream[at] = UInt8.random(in: 0...255, using: &random)
                case 1: stream[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 2 where stream.count > 1: stream.remove(at: at)
                default: stream.insert([0, 0xFF, 0x48].randomElement(using: &random)!, at: at)
                }
            }
            var parser = FifoParser(), rest = stream[...]
            do {
                while !rest.isEmpty {
                    let piece = rest.prefix(Int.random(in: 1...64, using: &random))
                    rest = rest.dropFirst(piece.count)
                    Array(piece).withUnsafeBytes { parser.append($0) }
                    while let message = try parser.next() {
                        guard message.type == 1 else { continue }
                        let announced = try AnnouncementDecoder.decode(message.body)
                        decoded += 1
                        #expect(Set(announced.map(\.name)).count == announced.count, "seed \(seed), round \(rounds)")
                        #expect(announced.allSatisfy { !$0.name.isEmpty }, "seed \(seed), round \(rounds)")
                    }
                }
            } catch {
                refused += 1
            }
        }
        #expect(decoded > 0 && refused > 0)
    }
}

/// SplitMix64: a seed gives the same bytes everywhere.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
