import CHermes
import Foundation
import HermesProtocol
import HermesSystem
import Synchronization
import Testing

@testable import HermesNode

/// Names that nobody else on this machine uses.
enum UniqueName {
    private static let made = Atomic<Int>(0)
    static func next() -> String { "units-\(getpid())-\(made.add(1, ordering: .relaxed).newValue)" }
}

@Suite struct RunFolderTests {
    private let name = UniqueName.next()
    private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    @Test func aFolderIsTakenAndGoesWithItsRun() throws {
        let folder = try RunFolder(name: name)
        #expect(folder.path == "/dev/shm/hermes-\(getuid())/\(name)")
        #expect(RunFolder.running().contains(name))
        let mode = try FileManager.default.attributesOfItem(atPath: folder.path)[.posixPermissions] as? Int
        #expect(mode == 0o700)
        try #require(FileManager.default.createFile(atPath: "\(folder.path)/left", contents: nil))
        RunFolder.sweep()
        #expect(exists("\(folder.path)/left"), "its owner lives")
        folder.remove()
        #expect(!exists(folder.path) && !RunFolder.running().contains(name))
    }

    @Test func aLivingRunsNameIsRefused() throws {
        let folder = try RunFolder(name: name)
        defer { folder.remove() }
        let listener = try #require(UnixSocket.listen(at: "\(folder.path)/control.sock"))
        defer { close(listener) }
        let error = #expect(throws: RunFailure.self) { try RunFolder(name: name) }
        #expect(error?.code == .refused)
        #expect(error?.cause.hasPrefix("a simulation named '\(name)' already runs here; end it with") == true)
        #expect(RunFolder.running().contains(name), "the running one goes on untouched")
    }

    @Test func whatADeadRunLeftIsSwept() throws {
        let squatter = Workshop.run(Workshop.squatter, name)
        #expect(squatter.firstWords == "ready\n")
        let path = RunFolder.path(of: name), segment = RunFolder.segmentName(of: name)
        RunFolder.sweep()
        #expect(RunFolder.running().contains(name))
        #expect(exists("\(path)/0.command") && hermes_segment_owner_state(segment) == 1)
        let error = #expect(throws: RunFailure.self) { try RunFolder(name: name) }
        #expect(error?.code == .refused)
        squatter.kill()
        // A process forked meanwhile may hold a descriptor for a moment: swept again until it is gone.
        #expect(
            eventually {
                RunFolder.sweep()
                return !exists(path) && hermes_segment_owner_state(segment) == -1
            })
    }

    @Test func theNameOfADeadRunIsFree() throws {
        let squatter = Workshop.run(Workshop.squatter, name)
        #expect(squatter.firstWords == "ready\n")
        squatter.kill()
        let folder = try RunFolder(name: name)
        #expect(
            !exists("\(folder.path)/0.command") && hermes_segment_owner_state(RunFolder.segmentName(of: name)) == -1)
        folder.remove()
    }

    @Test func aSegmentWithoutFolderIsSweptOnceItsOwnerIsDead() throws {
        let squatter = Workshop.run(Workshop.squatter, name, "segment")
        #expect(squatter.firstWords == "ready\n")
        let segment = RunFolder.segmentName(of: name)
        RunFolder.sweep()
        #expect(hermes_segment_owner_state(segment) == 1)
        squatter.kill()
        #expect(
            eventually {
                RunFolder.sweep()
                return hermes_segment_owner_state(segment) == -1
            })
        #expect(!exists(RunFolder.path(of: name)))
    }

    @Test func aSegmentBeingMadeIsNotSwept() throws {
        // A run has its folder first. Its segment has no owner yet, as between shm_open and its lock.
        let folder = try RunFolder(name: name), segment = RunFolder.segmentName(of: name)
        defer { folder.remove() }
        try #require(FileManager.default.createFile(atPath: "/dev/shm\(segment)", contents: nil))
        RunFolder.sweep()
        #expect(hermes_segment_owner_state(segment) == 0)
        hermes_segment_unlink(segment)
    }
}

@Suite struct UnixSocketTests {
    @Test func whoListensIsReachedAndNobodyElseIs() throws {
        let file = FileManager.default.temporaryDirectory.path + "/\(UniqueName.next())"
        let path = ByteString(file)
        #expect(UnixSocket.connect(to: path) == nil)
        let listener = try #require(UnixSocket.listen(at: path))
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let socket = try #require(UnixSocket.connect(to: path))
        close(socket)
        #expect(UnixSocket.listen(at: path) == nil, "somebody has that path")
        close(listener)
        unlink(file)
        #expect(
            UnixSocket.listen(at: path + ByteString(String(repeating: "x", count: 200))) == nil && errno == ENAMETOOLONG
        )
    }
}
