import FoundationEssentials
import Glibc
import HermesProtocol
import HermesSystem

/// A temporary folder that goes when the benchmark is over. It is locked as long as its owner lives: what one that was
/// killed left behind goes at the next start.
final class BenchmarkFolder {
    let path: String
    private let lock: Int32

    private static let prefix = "hermes-benchmark-"

    /// - Throws: `RunFailure` when it can't be made.
    init() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        Self.sweep(parent)
        var template = Array("\(parent)/\(Self.prefix)XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw RunFailure(
                .resource, cause: "can't make a folder in \(parent): \(String(cString: strerror(errno))); set TMPDIR")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        flock(lock, LOCK_EX | LOCK_NB)
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
        close(lock)
    }

    /// Only folders of this user that nobody holds, and only those that have been there for a while: a new one is about to
    /// be locked.
    private static func sweep(_ parent: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [] where name.hasPrefix(prefix) {
            let folder = open("\(parent)/\(name)", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
            guard folder >= 0 else { continue }
            var status = stat()
            if fstat(folder, &status) == 0, status.st_uid == getuid(), status.st_mtim.tv_sec + 60 < time(nil),
                flock(folder, LOCK_EX | LOCK_NB) == 0
            {
                try? FileManager.default.removeItem(atPath: "\(parent)/\(name)")
            }
            close(folder)
        }
    }

    /// - Throws: `RunFailure`.
    func write(_ text: String, to name: String) throws -> String {
        let file = "\(path)/\(name)"
        do throws(OutputError) {
            try OutputFiles(inputs: []).open(ByteString(file), for: "the benchmark's").write(Array(text.utf8))
        } catch {
            throw RunFailure(.resource, cause: error.description)
        }
        return file
    }

    func read(_ name: String) -> String {
        FileManager.default.contents(atPath: "\(path)/\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// A folder with the program in it, as a module root: only its owner may write to it.
    /// - Throws: `RunFailure`.
    func moduleRoot(with program: String) throws -> String {
        let root = "\(path)/modules"
        let copy = "\(root)/\(BenchmarkPrograms.moduleName)"
        guard mkdir(root, 0o755) == 0, chmod(root, 0o755) == 0,
            (try? FileManager.default.copyItem(atPath: program, toPath: copy)) != nil, chmod(copy, 0o755) == 0
        else {
            throw RunFailure(.resource, cause: "can't copy \(program) to \(root): \(String(cString: strerror(errno)))")
        }
        return root
    }
}
