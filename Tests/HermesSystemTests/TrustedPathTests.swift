import Foundation
import Glibc
import HermesSystem
import Testing

@Suite final class TrustedPathTests {
    private let folder: String

    init() throws {
        var template = Array("/tmp/hermes-trust-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        folder = String(cString: realpath(made, nil))
        chmod(folder, 0o755)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func make(_ path: String, mode: mode_t = 0o644) throws {
        let whole = "\(folder)/\(path)"
        try FileManager.default.createDirectory(
            atPath: (whole as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o755])
        try Data("x".utf8).write(to: URL(fileURLWithPath: whole))
        chmod(whole, mode)
    }

    /// Where the fault lies, beneath the folder; nil when there is none.
    private func fault(_ path: String) throws -> String? {
        do {
            try TrustedPath.check(ByteString("\(folder)/\(path)"))
            return nil
        } catch let untrusted as TrustedPath.Untrusted {
            return untrusted.place.text.map { String($0.dropFirst(folder.utf8.count + 1)) }
        }
    }

    @Test func whatOnlyTheUserMayWriteIsTrusted() throws {
        try make("a/b/file")
        try make("a/private", mode: 0o600)
        #expect(try fault("a/b/file") == nil)
        #expect(try fault("a/private") == nil)
        #expect(try fault("a/b/../b/./file") == nil)
        #expect(try fault("a/b") == nil)
    }

    @Test(arguments: [0o664, 0o646, 0o666, 0o622] as [mode_t]) func aFileOthersMayWrite(mode: mode_t) throws {
        try make("a/file", mode: mode)
        #expect(try fault("a/file") == "a/file")
    }

    @Test(arguments: ["a", "a/b", "a/b/c"]) func aFolderAboveOthersMayWrite(place: String) throws {
        try make("a/b/c/file")
        for mode in [0o775, 0o757, 0o777] as [mode_t] {
            chmod("\(folder)/\(place)", mode)
            #expect(try fault("a/b/c/file") == place)
            #expect(try fault("a/b/c") == place)
        }
    }

    @Test func theStickyBitHelpsAboveAndNotInTheFolderItself() throws {
        try make("a/b/file")
        chmod("\(folder)/a", 0o1777)
        #expect(try fault("a/b/file") == nil)
        #expect(try fault("a/b") == nil)
        #expect(try fault("a") == "a")
        #expect(try fault("a/b/..") == "a")
    }

    @Test func linksAreLookedThroughAndTheirFoldersCount() throws {
        try make("real/file")
        try make("open/other")
        try make("fine/other")
        func link(_ target: String, _ path: String) { symlink(target, "\(folder)/\(path)") }
        link("../real/file", "fine/link")
        link("\(folder)/real", "fine/folder")
        link("../real/file", "open/link")
        link("../open/link", "fine/chain")
        link("loop", "fine/loop")
        #expect(try fault("fine/link") == nil)
        #expect(try fault("fine/folder/file") == nil)
        #expect(try fault("fine/chain") == nil)
        chmod("\(folder)/open", 0o777)
        #expect(try fault("open/link") == "open")
        #expect(try fault("fine/chain") == "open")
        chmod("\(folder)/real", 0o775)
        #expect(try fault("fine/link") == "real")
        #expect(try fault("fine/folder") == "real")
        #expect(throws: SystemError.self) { try fault("fine/loop") }
        #expect(throws: SystemError.self) { try fault("fine/nothing") }
    }

    @Test(.enabled(if: getuid() == 0)) func whatBelongsToAnotherUserIsNotTrusted() throws {
        try make("a/file")
        chown("\(folder)/a/file", 12345, 0)
        #expect(try fault("a/file") == "a/file")
        chown("\(folder)/a/file", 0, 0)
        chown("\(folder)/a", 12345, 0)
        #expect(try fault("a/file") == "a")
        // Its owner could put another link in its place, also in a sticky folder.
        chown("\(folder)/a", 0, 0)
        chmod("\(folder)/a", 0o1777)
        symlink("file", "\(folder)/a/link")
        lchown("\(folder)/a/link", 12345, 0)
        #expect(try fault("a/link") == "a/link")
    }
}
