import CKeeper
import Foundation
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesNode
@testable import HermesTransport

/// A module root of a test's own.
private final class Root {
    let path: String
    var place: ByteString { ByteString(path) }
    let files: ModuleFiles

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/" + UniqueName.next()
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        files = ModuleFiles(root: try ModuleRoot(ByteString(path)), allowsPush: true, log: NodeLog(.quiet))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func again() throws -> ModuleFiles {
        ModuleFiles(root: try ModuleRoot(ByteString(path)), allowsPush: true, log: NodeLog(.quiet))
    }

    func text(_ name: String) -> String? { try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) }

    func write(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
    }

    /// Everything there is, with what lies in folders.
    var names: [String] { (try? FileManager.default.subpathsOfDirectory(atPath: path).sorted()) ?? [] }
    var unfinished: Int { names.filter { $0.hasPrefix("\(ModuleFiles.folder)/") }.count }
}

private func caller(_ name: String = "desk") -> NodeListener.Caller { .init(name: Array(name.utf8)) }

private func hash(_ text: String) -> String {
    var hash = FileHash()
    Array(text.utf8).withUnsafeBytes { hash.update($0) }
    return hash.finish()
}

private func piece(
    _ path: ByteString, _ text: String, of whole: String, at offset: Int = 0, upload: UInt64 = 1,
    isExecutable: Bool = false, hash given: String? = nil
) -> PutPiece {
    PutPiece(
        upload: upload, path: path, offset: offset, total: whole.utf8.count, isExecutable: isExecutable,
        bytes: Data(text.utf8), hash: given ?? hash(whole))
}

@Suite struct FileHashTests {
    @Test func isSHA256() {
        #expect(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test func ofAFileInPieces() throws {
        let root = try Root()
        let text = String(repeating: "0123456789abcdef", count: 40_000)
        try root.write("long", text)
        let file = open("\(root.path)/long", O_RDONLY)
        defer { close(file) }
        lseek(file, 1000, SEEK_SET)
        #expect(FileHash.of(descriptor: file) == hash(text), "from the beginning, whatever was read")
        var asked = 0
        let none = FileHash.of(descriptor: file) {
            asked += 1
            return asked < 2
        }
        #expect(none == nil && errno == ECANCELED)
    }
}

@Suite struct ModuleFilesTests {
    @Test func aFileInPieces() throws {
        let root = try Root()
        #expect(try root.files.put(piece("a/b/c.txt", "one", of: "onetwo"), from: caller()).received == 3)
        #expect(root.text("a/b/c.txt") == nil && root.unfinished == 1)
        let last = piece("./a//b/c.txt", "two", of: "onetwo", at: 3, isExecutable: true)
        #expect(try root.files.put(last, from: caller()).received == 6)
        #expect(root.text("a/b/c.txt") == "onetwo")
        #expect(access("\(root.path)/a/b/c.txt", X_OK) == 0)
        #expect(root.names == ["a", "a/b", "a/b/c.txt"], "nothing else is left")
        _ = try root.files.put(piece("empty", "", of: ""), from: caller())
        #expect(root.text("empty") == "" && access("\(root.path)/empty", X_OK) != 0)
    }

    @Test func theOldOneStaysUntilTheNewOneIsWhole() throws {
        let root = try Root()
        try root.write("model", "old")
        _ = try root.files.put(piece("model", "ne", of: "new"), from: caller())
        #expect(root.text("model") == "old")
        #expect(throws: Refused.self) {
            try root.files.put(piece("model", "w", of: "new", at: 2, hash: hash("other")), from: caller())
        }
        #expect(root.text("model") == "old" && root.unfinished == 0, "what is damaged is not kept")
        #expect(throws: Refused.self) { try root.files.put(piece("model", "w", of: "new", at: 2), from: caller()) }
        _ = try root.files.put(piece("model", "new", of: "new"), from: caller())
        #expect(root.text("model") == "new")
    }

    @Test func piecesThatDoNotFit() throws {
        let root = try Root()
        let whole = "abcdef"
        _ = try root.files.put(piece("x", "abc", of: whole), from: caller())
        var wrong = [piece("x", "ef", of: whole, at: 4), piece("x", "de", of: whole, at: 3, upload: 2)]
        wrong.append(piece("x", "defg", of: whole, at: 3))
        wrong.append(piece("x", "", of: whole, at: 3))
        wrong.append(piece("x", "d", of: "abcdefg", at: 3))
        for numbers in [(-1, 6), (Int.max, 6), (7, 6), (0, -1), (Int.max, Int.max), (Int.min, Int.min)] {
            var bad = piece("x", "d", of: whole)
            (bad.offset, bad.total) = numbers
            wrong.append(bad)
        }
        var long = piece("x", String(repeating: "x", count: PutPiece.longest + 1), of: whole)
        long.total = 1 << 30
        wrong.append(long)
        for bad in wrong { #expect(throws: Refused.self, "\(bad.offset)") { try root.files.put(bad, from: caller()) } }
        #expect(throws: Refused.self) { try root.files.put(piece("x", "def", of: whole, at: 3), from: caller("other")) }
        _ = try root.files.put(piece("x", "def", of: whole, at: 3), from: caller())
        #expect(root.text("x") == whole, "the right one goes on")
    }

    @Test func severalAtOnce() throws {
        let root = try Root()
        for name in ["one", "two"] {
            _ = try root.files.put(piece("same", "\(name) ", of: "\(name) end"), from: caller(name))
        }
        #expect(root.unfinished == 2)
        _ = try root.files.put(piece("same", "end", of: "two end", at: 4), from: caller("two"))
        #expect(root.text("same") == "two end")
        _ = try root.files.put(piece("same", "end", of: "one end", at: 4), from: caller("one"))
        #expect(root.text("same") == "one end" && root.names == ["same"])
    }

    @Test func unfinishedOnesAreBounded() throws {
        let root = try Root()
        func begin(_ number: UInt64) throws {
            _ = try root.files.put(piece("f\(number)", "a", of: "ab", upload: number), from: caller())
        }
        for number in 1...16 { try begin(UInt64(number)) }
        let error = #expect(throws: Refused.self) { try begin(17) }
        #expect(error?.cause.contains("16 files are being pushed") == true)
        try begin(3)
        #expect(root.unfinished == 16, "one begun again is the same one")
        root.files.close()
        #expect(root.names.isEmpty)
    }

    @Test func thereMustBeRoom() throws {
        let root = try Root()
        var huge = piece("huge", "a", of: "a")
        huge.total = 1 << 40
        let error = #expect(throws: Refused.self) { try root.files.put(huge, from: caller()) }
        #expect(error?.cause.contains("make room") == true)
        #expect(root.names.isEmpty)
    }

    @Test func whatWasLeftIsSweptAndWhatIsUnderWayIsNot() throws {
        let root = try Root()
        _ = try root.files.put(piece("mine", "a", of: "ab"), from: caller())
        try root.write("\(ModuleFiles.folder)/1-left", "of a node that was killed")
        #expect(root.unfinished == 2)
        _ = try root.again()
        #expect(root.unfinished == 1)
        _ = try root.files.put(piece("mine", "b", of: "ab", at: 1), from: caller())
        #expect(root.text("mine") == "ab" && root.names == ["mine"])
    }

    @Test(arguments: [
        "../x", "/tmp/x", "a/../../x", "", ".", "a/..", ".hermes-push", ".hermes-push/x", "a\nb", "./",
        ".hermes-push/\u{301}x", "./\u{301}/../x", ".//.hermes-push//\u{301}", "/\u{301}x", "a/\u{301}/../../x",
    ])
    func placesThatAreNone(path: ByteString) throws {
        let root = try Root()
        #expect(throws: Refused.self) { try root.files.put(piece(path, "x", of: "x"), from: caller()) }
        #expect(throws: Refused.self) { try root.files.makeFolder(MakeFolder(path: path)) }
        #expect(root.names.isEmpty)
    }

    @Test func linksLeadNowhereElse() throws {
        let root = try Root(), outside = try Root()
        try outside.write("precious", "old")
        for (name, target) in [
            ("out", outside.path), ("loop", "loop"), ("file", "\(outside.path)/precious"), ("in", "inner"),
        ] {
            try FileManager.default.createSymbolicLink(atPath: "\(root.path)/\(name)", withDestinationPath: target)
        }
        try root.files.makeFolder(MakeFolder(path: "inner"))
        for path: ByteString in ["out/x", "out/deep/x", "loop/x", "out/\u{301}x", "out/\u{20D7}/x", "./out/\u{200D}x"] {
            #expect(throws: Refused.self, "\(path)") { try root.files.put(piece(path, "x", of: "x"), from: caller()) }
        }
        for path: ByteString in ["out/deep", "out/\u{301}deep", "out/\u{301}/deep"] {
            #expect(throws: Refused.self, "\(path)") { try root.files.makeFolder(MakeFolder(path: path)) }
        }
        _ = try root.files.put(piece("file", "new", of: "new"), from: caller())
        _ = try root.files.put(piece("in/x", "x", of: "x"), from: caller())
        #expect(root.text("file") == "new" && root.text("inner/x") == "x")
        #expect(outside.names == ["precious"] && outside.text("precious") == "old")
        let kinds = try root.files.find(AskHashes(paths: ["out/precious", "out", "in/x", "loop"]), isWanted: { true })
        #expect(kinds.entries.map(\.kind) == [.other, .other, .file, .other])
        #expect(kinds.entries[0].cause == "a link leads out of the module root")
    }

    /// A slash with an accent is one character, and parts two names.
    @Test func anAccentHidesNoFolder() throws {
        let root = try Root()
        _ = try root.files.put(piece("a/\u{301}b", "x", of: "x"), from: caller())
        #expect(root.text("a/\u{301}b") == "x" && root.names.count == 2)
        // `e` with an accent and the accented letter are two files.
        for (path, text) in [("e\u{301}", "1"), ("\u{E9}", "2")] {
            _ = try root.files.put(piece(ByteString(path), text, of: text), from: caller())
        }
        let names = try Folder.entries(of: root.place).sorted()
        #expect(names == ["a", "e\u{301}", "\u{E9}"])
    }

    @Test func namesThatAreNoText() throws {
        let root = try Root()
        let path = ByteString(bytes: Array("caf".utf8) + [0xE9, 0x2F] + Array("mod".utf8) + [0xFF])
        _ = try root.files.put(piece(path, "x", of: "x"), from: caller())
        let folder = root.place.appendingPath(path.parentPath)
        #expect(try Folder.entries(of: folder) == [path.lastPathComponent])
        let asked = try JSONDecoder().decode(AskHashes.self, from: JSONEncoder().encode(AskHashes(paths: [path])))
        #expect(try root.files.find(asked, isWanted: { true }).entries[0].kind == .file)
    }

    @Test func noParentOfAModuleIsSkipped() throws {
        let root = try Root()
        for folder: ByteString in ["shared/\u{301}inner", "own/\u{301}inner"] {
            _ = try root.files.put(piece("\(folder)/model", "x", of: "x"), from: caller())
        }
        chmod("\(root.path)/shared", 0o777)
        let place = try ModuleRoot(root.place)
        let resolved = try place.resolve("own/\u{301}inner/model", of: "m")
        #expect(resolved.pathComponents.suffix(3) == ["own", "\u{301}inner", "model"])
        let failure = #expect(throws: RunFailure.self) { try place.resolve("shared/\u{301}inner/model", of: "m") }
        #expect(failure?.cause.hasPrefix("others may write to") == true)
    }

    @Test func whatIsInTheWay() throws {
        let root = try Root()
        try root.files.makeFolder(MakeFolder(path: "folder/inner"))
        try root.write("file", "x")
        for path: ByteString in ["folder", "file/x"] {
            #expect(throws: Refused.self, "\(path)") { try root.files.put(piece(path, "x", of: "x"), from: caller()) }
        }
        #expect(throws: Refused.self) { try root.files.makeFolder(MakeFolder(path: "file")) }
        #expect(root.names == ["file", "folder", "folder/inner"])
        #expect(root.text("file") == "x")
    }

    @Test func whatIsThere() throws {
        let root = try Root()
        try root.write("a", "abc")
        chmod("\(root.path)/a", 0o755)
        try root.files.makeFolder(MakeFolder(path: "b"))
        mkfifo("\(root.path)/pipe", 0o600)
        let paths: [ByteString] = ["a", "./a", "b", "pipe", "none", "a/none", "../a", "/etc/passwd"]
        let found = try root.files.find(AskHashes(paths: paths), isWanted: { true }).entries
        #expect(found.map(\.kind) == [.file, .file, .folder, .other, .absent, .absent, .other, .other])
        #expect(found[0].hash == hash("abc") && found[0].isExecutable && found[1] == found[0])
        let many = AskHashes(paths: Array(repeating: "a", count: AskHashes.mostPaths + 1))
        #expect(throws: Refused.self) { try root.files.find(many, isWanted: { true }) }
    }

    @Test func aNodeThatTakesNothing() throws {
        let root = try Root()
        let files = ModuleFiles(root: try ModuleRoot(root.place), allowsPush: false, log: NodeLog(.quiet))
        let error = #expect(throws: Refused.self) { try files.put(piece("x", "x", of: "x"), from: caller()) }
        #expect(error?.cause.contains("--no-push") == true)
        #expect(throws: Refused.self) { try files.makeFolder(MakeFolder(path: "x")) }
        #expect(try files.find(AskHashes(paths: ["x"]), isWanted: { true }).entries[0].kind == .absent)
        #expect(root.names.isEmpty)
    }
}

@Suite struct LineChannelTests {
    private func pair() throws -> (LineChannel, LineChannel) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (LineChannel(ends[0]), LineChannel(ends[1]))
    }

    private func lines(_ channel: LineChannel) -> [SaidLine] {
        var lines: [SaidLine] = []
        while let messages = channel.receive(), !messages.isEmpty {
            lines += messages.compactMap { $0.body(SaidLine.self) }
        }
        return lines
    }

    @Test func nobodyWaitsForAReader() throws {
        let (near, far) = try pair()
        let modules = ModuleLines(run: 7, host: "bench", channel: near)
        let text = String(repeating: "x", count: 1000)
        for number in 1...5000 { modules.say("m", "\(number) \(text)") }
        let first = lines(far)
        #expect(!first.isEmpty && first.count < 5000)
        modules.say("m", "later")
        modules.finish()
        let then = lines(far)
        let all = first + then
        let arrived = all.filter { $0.module != nil }
        #expect(arrived.map { $0.text.prefix(5) }.count == arrived.count && arrived.last?.text == "later")
        #expect(arrived.dropLast().enumerated().allSatisfy { $1.text == "\($0 + 1) \(text)" }, "whole, in order")
        let notices = all.filter { $0.module == nil }
        #expect(
            notices.map(\.text) == [
                "host bench: \(5001 - arrived.count) lines of modules dropped: they come faster than they can be carried"
            ])
        close(near.descriptor)
        #expect(far.receive() == nil)
        close(far.descriptor)
    }

    @Test func whatMattersWaitsForRoom() throws {
        let (near, far) = try pair()
        let modules = ModuleLines(run: 7, host: "bench", channel: near)
        for _ in 1...5000 { modules.say("m", String(repeating: "x", count: 1000)) }
        let reader = try startThread("a reader") {
            usleep(50_000)
            while let messages = far.receive() {
                if messages.contains(where: { $0.say == "ending" }) { break }
                if messages.isEmpty { usleep(1000) }
            }
        }
        near.say("ending", Refused("the cause"))
        pthread_join(reader, nil)
        close(near.descriptor)
        close(far.descriptor)
    }

    @Test func aReaderThatIsGoneStopsNobody() throws {
        let (near, far) = try pair()
        close(far.descriptor)
        let modules = ModuleLines(run: 7, host: "bench", channel: near)
        for _ in 1...100 { modules.say("m", "x") }
        near.say("ending", Refused("the cause"))
        modules.finish()
        close(near.descriptor)
    }
}
