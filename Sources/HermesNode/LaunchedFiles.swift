import Glibc
import HermesModel
import HermesSystem
import HermesTransport

/// What a module was started from: its program and its `config:` file. A module that is started again in the middle of a run
/// is the one that the run began with, whatever has been pushed or built meanwhile.
struct LaunchedFiles {
    private let program: HeldFile?
    private let configuration: HeldFile?
    private let isScript: Bool

    init(of module: Module) {
        program = HeldFile(module.program)
        configuration = module.configuration.flatMap { HeldFile($0) }
        isScript = module.kind == .script || program?.isScript == true
    }

    /// What to start in place of the program's path, because that leads to another program by now; nil where it is the same.
    /// - Throws: `Changed` when what it began with is not to be had any more.
    func replacement() throws(Changed) -> ByteString? {
        if let configuration, configuration.state != .same {
            throw Changed(what: "`config:` file", path: configuration.path)
        }
        guard let program else { return nil }
        switch program.state {
        case .same: return nil
        case .replaced where !isScript: return program.heldPath
        case .replaced, .written: throw Changed(what: isScript ? "script" : "program", path: program.path)
        }
    }

    struct Changed: Error, CustomStringConvertible {
        var what: String
        var path: ByteString
        var description: String {
            "its \(what) \(path) has changed since the run began, and a run goes on with what it began with; start the "
                + "simulation again to have it changed"
        }
    }
}

/// A file as it was at some moment: held open, and known by its hash.
private final class HeldFile {
    enum State {
        case same
        /// Another file has its name; the one that is held is as it was.
        case replaced
        /// The file itself has been written to, or can't be read.
        case written
    }

    let path: ByteString
    private let descriptor: Int32
    private let hash: String?
    private let stamp: Stamp

    /// What changes with every write to a file.
    private struct Stamp: Equatable {
        var device: UInt64, file: UInt64, size: Int, written: [Int], changed: [Int]

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            file = UInt64(status.st_ino)
            size = Int(status.st_size)
            written = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
            changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
        }
    }

    /// Nil when it is not there: whoever starts it says so.
    init?(_ path: ByteString) {
        self.path = path
        descriptor = open(path.cString, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        var status = stat()
        // One that may be executed and not read is known by its stamp alone.
        guard descriptor >= 0 ? fstat(descriptor, &status) == 0 : stat(path.cString, &status) == 0 else {
            if descriptor >= 0 { close(descriptor) }
            return nil
        }
        stamp = Stamp(status)
        hash = descriptor >= 0 ? FileHash.of(descriptor: descriptor) : nil
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// By which a process of this user finds the file that is held, whatever has its name.
    var heldPath: ByteString { ByteString("/proc/\(getpid())/fd/\(descriptor)") }

    var isScript: Bool {
        var head: [UInt8] = [0, 0]
        return descriptor >= 0 && pread(descriptor, &head, 2, 0) == 2 && head == Array("#!".utf8)
    }

    var state: State {
        var status = stat()
        // One that is not there is no other: it may come back, and whoever starts it says so.
        if stat(path.cString, &status) != 0 || Stamp(status) == stamp { return .same }
        guard let hash, FileHash.of(descriptor: descriptor) == hash else { return .written }
        // The same bytes once more, or only touched.
        let now = open(path.cString, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard now >= 0 else { return .replaced }
        defer { close(now) }
        return FileHash.of(descriptor: now) == hash ? .same : .replaced
    }
}
