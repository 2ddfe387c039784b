import Foundation
import HermesModel
import HermesSystem
import Testing

@testable import HermesCoordinator

/// What a host needs of a configuration's folder.
@Suite final class HostFilesTests {
    private let folder: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/hermes-host-files-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder + "/maps/deep", withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: folder + "/maps/empty", withIntermediateDirectories: true)
        for name in ["model", "model.yaml", "maps/a", "maps/deep/b", "script.py"] {
            try #require(FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: Data(name.utf8)))
        }
        chmod("\(folder)/model", 0o755)
        symlink("a", "\(folder)/maps/link")
        symlink("..", "\(folder)/maps/loop")
        mkfifo("\(folder)/maps/pipe", 0o600)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func module(
        _ name: String, _ program: ByteString, config: ByteString? = nil, workingDirectory: ByteString? = nil,
        files: [ByteString] = [],
        host: String? = "bench"
    ) -> Module {
        Module(
            name: name, kind: .process, program: program, workingDirectory: workingDirectory, configuration: config,
            files: files, host: host, location: SourceLocation(file: "sim.yaml", line: 1, column: 1))
    }

    private func files(_ modules: Module...) -> HostFiles {
        HostFiles(of: "bench", in: Simulation(baseDirectory: ByteString(folder), modules: modules))
    }

    @Test func ofItsModulesOnly() {
        let found = files(
            module("a", "./model", config: "model.yaml", workingDirectory: "runs/a"),
            module("b", "model", config: "./none.yaml", workingDirectory: "./runs//a"),
            module("elsewhere", "script.py", files: ["maps"], host: "rack"), module("here", "script.py", host: nil))
        #expect(found.files.map(\.path) == ["model", "model.yaml"], "each once")
        #expect(found.files.map(\.isExecutable) == [true, false])
        #expect(found.files[0].source == "\(folder)/model")
        #expect(found.folders == ["runs/a"])
        #expect(found.missing == ["none.yaml"])
        #expect(found.leftOut.isEmpty && found.wrong.isEmpty)
    }

    @Test func foldersWithAllThatIsInThem() {
        let found = files(module("a", "model", files: ["maps/", "maps/deep/b", "none", "."]))
        #expect(
            found.files.map(\.path) == ["maps/a", "maps/deep/b", "maps/link", "model", "model.yaml", "script.py"])
        #expect(found.folders == ["maps/empty"])
        #expect(found.missing == ["none"])
        #expect(found.leftOut.map(\.path) == ["maps/loop", "maps/pipe"])
        #expect(found.wrong.isEmpty)
    }

    @Test func whatIsNoFile() {
        let found = files(module("a", "maps/pipe"))
        #expect(found.files.isEmpty && found.wrong.map(\.path) == ["maps/pipe"])
    }
}
