import CKeeper
import Glibc
import HermesProtocol
import HermesSystem

/// The one folder a node starts modules from.
public final class ModuleRoot: Sendable {
    public let path: ByteString
    public let descriptor: Int32

    /// - Throws: `RunFailure` when it is no folder, or others may write to it.
    public init(_ path: ByteString) throws {
        guard let real = realpath(path.cString, nil) else { throw Self.failure("the module root \(path)") }
        defer { free(real) }
        self.path = ByteString(cString: real)
        descriptor = open(self.path.cString, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure("the module root \(path)") }
        try Self.checkBeneath(descriptor)
        try Self.refuseForeignWriters(path, what: "the module root \(path)")
    }

    /// Without the call that opens only what lies beneath the root no module could be started: said now, not at a run.
    private static func checkBeneath(_ descriptor: Int32) throws {
        let file = keeper_open_beneath(descriptor, ".", keeper_o_path)
        if file >= 0 {
            close(file)
            return
        }
        let cause =
            switch errno {
            case ENOSYS:
                "this machine has no openat2, by which a node starts only what lies beneath its module root: it needs Linux "
                    + "5.6, and a sandbox that knows the call (in a container: a newer runtime and libseccomp)"
            case EPERM, EACCES:
                "a sandbox refuses openat2, by which a node starts only what lies beneath its module root; allow it in the "
                    + "seccomp profile (in a container: a newer runtime and libseccomp do, or --security-opt seccomp=...)"
            default:
                "openat2, by which a node starts only what lies beneath its module root, fails here: "
                    + SystemError.reason(errno)
            }
        throw RunFailure(.resource, cause: cause)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func failure(_ what: String) -> RunFailure {
        RunFailure(.resource, cause: "\(what) can't be opened: \(SystemError.reason(errno))")
    }

    /// The real path of what `relative` names beneath the root.
    /// - Throws: `RunFailure` when nothing is there, or it lies elsewhere.
    func resolve(_ relative: ByteString, of module: String) throws -> ByteString {
        let file = keeper_open_beneath(descriptor, relative.cString, keeper_o_path)
        guard file >= 0 else {
            let code = errno
            let cause =
                code == EXDEV
                ? "'\(relative)' leads out of the module root; a node starts only what lies beneath it"
                : code == ENOENT
                    ? "there is no '\(relative)' beneath the module root; `hermes push CONFIG` copies it there"
                    : "'\(relative)' beneath the module root: \(SystemError.reason(code))"
            throw RunFailure(.launch, module: module, cause: cause)
        }
        defer { close(file) }
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/fd/\(file)", &room, room.count - 1)
        guard length > 0 else { throw RunFailure(.launch, module: module, cause: "'\(relative)' can't be resolved") }
        let resolved = ByteString(bytes: room[..<length].map { UInt8(bitPattern: $0) })
        try Self.refuseForeignWriters(resolved, of: module)
        return resolved
    }

    /// What others may write to, or a folder on the way to it, could be another one by the time it is used.
    private static func refuseForeignWriters(_ path: ByteString, of module: String? = nil, what: String? = nil) throws {
        do {
            try TrustedPath.check(path)
        } catch let untrusted as TrustedPath.Untrusted {
            let place = untrusted.place == path ? what ?? "\(path)" : "\(untrusted.place)"
            let cause =
                switch untrusted.reason {
                case .writable:
                    "others may write to \(place), and so have this node start what they like; run: chmod go-w "
                        + "\(untrusted.place)"
                case .foreign: "\(place) belongs to another user; chown it, or name another"
                }
            throw RunFailure(.refused, module: module, cause: cause)
        } catch {
            throw RunFailure(.resource, module: module, cause: "\(error)")
        }
    }
}
