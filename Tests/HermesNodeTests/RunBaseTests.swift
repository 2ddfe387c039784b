import Foundation
import HermesProtocol
import HermesSystem
import Testing

@testable import HermesNode

/// In a folder of these tests' own: nothing here comes near what is really there.
@Suite struct RunBaseTests {
    private let folder: String
    private var base: String { "\(folder)/base" }

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/hermes-base-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    private func done() { try? FileManager.default.removeItem(atPath: folder) }

    /// A folder with a file, as somebody else's.
    private func makeVictim() throws -> String {
        try FileManager.default.createDirectory(atPath: "\(folder)/victim/run", withIntermediateDirectories: true)
        try "precious".write(toFile: "\(folder)/victim/run/file", atomically: true, encoding: .utf8)
        chmod("\(folder)/victim", 0o700)
        return "\(folder)/victim"
    }

    private var isVictimWhole: Bool { access("\(folder)/victim/run/file", F_OK) == 0 }

    @Test func aRunsFolderIsMadeLockedClearedAndRemoved() throws {
        defer { done() }
        #expect(try RunBase(base) == nil, "nothing is made that nobody asked for")
        let runs = try #require(try RunBase(base, makes: true))
        #expect(try runs.make("one") && runs.make("one") && runs.names == ["one"])
        let lock = try #require(runs.lock("one"))
        #expect(runs.lock("one") == nil && runs.lock("two") == nil)
        try "x".write(toFile: "\(base)/one/file", atomically: true, encoding: .utf8)
        RunBase.clear(lock)
        #expect(try Folder.entries(of: "\(base)/one") == [])
        runs.remove("one")
        close(lock)
        #expect(runs.names == [])
    }

    @Test func aLinkInItsPlaceIsRefusedAndNotFollowed() throws {
        defer { done() }
        symlink(try makeVictim(), base)
        for makes in [false, true] {
            let error = #expect(throws: RunFailure.self) { try RunBase(base, makes: makes) }
            #expect(error?.cause == "\(base) is not a private folder of this user; remove it")
        }
        #expect(isVictimWhole)
    }

    @Test func aLinkToARunsFolderIsNotFollowed() throws {
        defer { done() }
        let victim = try makeVictim()
        let runs = try #require(try RunBase(base, makes: true))
        symlink("\(victim)/run", "\(base)/one")
        #expect(runs.names == ["one"] && runs.lock("one") == nil)
        #expect(isVictimWhole)
    }

    @Test func clearingRemovesALinkAndNotWhatItLeadsTo() throws {
        defer { done() }
        let victim = try makeVictim()
        let runs = try #require(try RunBase(base, makes: true))
        #expect(try runs.make("one"))
        symlink("\(victim)/run/file", "\(base)/one/file")
        symlink("\(victim)/run", "\(base)/one/folder")
        let lock = try #require(runs.lock("one"))
        RunBase.clear(lock)
        runs.remove("one")
        close(lock)
        #expect(runs.names == [] && isVictimWhole)
    }

    @Test func aBaseThatIsReplacedLaterLeadsNowhereElse() throws {
        defer { done() }
        let victim = try makeVictim()
        let runs = try #require(try RunBase(base, makes: true))
        #expect(try runs.make("run"))
        rename(base, "\(folder)/moved")
        symlink(victim, base)
        let lock = try #require(runs.lock("run"))
        RunBase.clear(lock)
        runs.remove("run")
        close(lock)
        #expect(isVictimWhole && runs.names == [])
    }

    @Test(arguments: [0o755, 0o770, 0o701, 0o777]) func aFolderOthersCanEnterIsRefused(mode: Int) throws {
        defer { done() }
        mkdir(base, 0o700)
        chmod(base, mode_t(mode))
        #expect(throws: RunFailure.self) { try RunBase(base, makes: true) }
    }

    @Test func aFileInItsPlaceIsRefused() throws {
        defer { done() }
        try "x".write(toFile: base, atomically: true, encoding: .utf8)
        #expect(throws: RunFailure.self) { try RunBase(base, makes: true) }
    }
}
