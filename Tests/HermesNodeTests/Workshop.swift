import Foundation

/// C programs and modules, compiled as a user would from the sources beside these tests, once for all of them.
enum Workshop {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    private static let folder: String = {
        let path = FileManager.default.temporaryDirectory.path + "/hermes-workshop-\(getpid())"
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        atexit { try? FileManager.default.removeItem(atPath: Workshop.folder) }
        return path
    }()

    /// Paths of `counter` as a process, as a shared object, and of `squatter`.
    static let counter = built("counter", libhermes)
    static let counterObject = built("counter", "-shared", "-fPIC")
    static let squatter = built("squatter", libhermes)

    private static let libhermes = "\(root)/Sources/CHermes/*.c"

    private static func built(_ name: String, _ more: String...) -> String {
        let path = "\(folder)/\(name)\(more.contains("-shared") ? ".so" : "")"
        let source = Bundle.module.resourceURL!.appendingPathComponent("Modules/\(name).c").path
        let command =
            "cc -std=c11 -O1 -ffp-contract=off -I'\(root)/include' -I'\(root)/Sources/CHermes' '\(source)' "
            + more.joined(separator: " ") + " -o '\(path)' -pthread -ldl -lm"
        let status = run("/bin/sh", "-c", command).wait()
        precondition(status == 0, "\(name).c does not compile")
        return path
    }

    /// A program in a file of its own.
    static func script(_ name: String, _ text: String) throws -> String {
        let path = "\(folder)/\(name)-\(UUID().uuidString)"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        chmod(path, 0o755)
        return path
    }

    /// A process of this test's own.
    final class Child {
        private let process = Process()
        private let output = Pipe()

        init(_ arguments: [String]) {
            process.executableURL = URL(fileURLWithPath: arguments[0])
            process.arguments = Array(arguments.dropFirst())
            process.standardOutput = output
            do { try process.run() } catch { preconditionFailure("\(arguments): \(error)") }
        }

        func wait() -> Int32 {
            process.waitUntilExit()
            return process.terminationStatus
        }

        /// What it prints first.
        var firstWords: String { String(decoding: output.fileHandleForReading.availableData, as: UTF8.self) }

        func kill() {
            Glibc.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    static func run(_ arguments: String...) -> Child { Child(arguments) }
}

/// True as soon as `condition` holds, false when it does not come true.
func eventually(_ condition: () -> Bool) -> Bool {
    let limit = Date(timeIntervalSinceNow: 60)
    while !condition() {
        guard Date() < limit else { return false }
        sched_yield()
    }
    return true
}
