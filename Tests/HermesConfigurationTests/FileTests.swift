import Foundation
import HermesConfiguration
import HermesModel
import HermesSystem
import Testing

/// Configuration files that can't be read, and files of modules that only exist while a test runs.
@Suite(.timeLimit(.minutes(1))) struct FileTests {
    private let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "hermes-configuration-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// The messages for a path in a fresh folder, the folder's own name cut out.
    private func refusal(_ name: String) -> String {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            _ = try ConfigurationReader.read(path: ByteString(folder + "/" + name))
            return "read"
        } catch {
            return "\(error)".replacingOccurrences(of: folder + "/", with: "")
        }
    }

    private func write(_ name: String, _ text: String) throws {
        try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8)
    }

    @Test func missing() throws {
        try write("flight.yaml", "")
        #expect(refusal("fligth.yaml") == "fligth.yaml:1:1: error: no such file; did you mean `flight.yaml`?")
    }

    @Test func missingInAMissingFolder() {
        #expect(refusal("nowhere/sim.yaml") == "nowhere/sim.yaml:1:1: error: no such file")
    }

    @Test func directory() {
        #expect(refusal("") == ":1:1: error: this is a directory, not a configuration file")
    }

    @Test func fifo() {
        mkfifo(folder + "/pipe.yaml", 0o600)
        #expect(refusal("pipe.yaml") == "pipe.yaml:1:1: error: this is a FIFO, not a configuration file")
    }

    @Test func device() {
        symlink("/dev/zero", folder + "/zero.yaml")
        #expect(refusal("zero.yaml") == "zero.yaml:1:1: error: this is a device, not a configuration file")
    }

    @Test(.enabled(if: geteuid() != 0, "root reads everything")) func unreadable() throws {
        try write("secret.yaml", "")
        chmod(folder + "/secret.yaml", 0)
        #expect(refusal("secret.yaml") == "secret.yaml:1:1: error: the file cannot be read: Permission denied")
    }

    @Test func linkLoop() {
        symlink("loop.yaml", folder + "/loop.yaml")
        #expect(
            refusal("loop.yaml") == "loop.yaml:1:1: error: the file cannot be read: Too many levels of symbolic links")
    }

    @Test func huge() throws {
        try write("huge.yaml", "")
        truncate(folder + "/huge.yaml", 16 << 20 + 1)
        #expect(
            refusal("huge.yaml")
                == "huge.yaml:1:1: error: the file is larger than 16 MiB; wire many signals with bulk wires (`*`)")
    }

    @Test func empty() throws {
        try write("empty.yaml", "")
        #expect(
            refusal("empty.yaml")
                == "empty.yaml:1:1: error: the file is empty; a configuration needs `version` and `modules`")
    }

    /// Looking at a module's FIFO must not open it: there is nobody at its other end.
    @Test func filesOfModules() throws {
        mkfifo(folder + "/pipe", 0o700)
        symlink("nowhere", folder + "/dangling")
        try write(
            "sim.yaml",
            """
            version: "0.2"
            modules:
              a: { type: process, executable: pipe, config: pipe }
              b: { type: script, script: dangling }
            """)
        #expect(
            refusal("sim.yaml") == """
                sim.yaml:3:35: error: `executable`: `pipe` is a FIFO, not a file
                sim.yaml:3:49: error: `config`: `pipe` is a FIFO, not a file
                sim.yaml:4:30: error: `script`: `dangling` is a link that leads nowhere, not a file
                """)
    }

    @Test func pathsStartAtTheFilesFolder() throws {
        try write("sim.yaml", "version: \"0.2\"\nmodules:\n  a: { type: script, script: ./x/../run.py }\n")
        try write("run.py", "")
        try FileManager.default.createDirectory(atPath: folder + "/x", withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (simulation, _) = try ConfigurationReader.read(path: ByteString(folder + "/./sim.yaml"))
        #expect(simulation.baseDirectory == ByteString(folder))
        #expect(simulation.modules[0].program == ByteString(folder + "/x/../run.py"))
        #expect(simulation.modules[0].location.file == folder + "/./sim.yaml")
    }
}
