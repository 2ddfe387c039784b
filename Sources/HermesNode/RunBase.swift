import Glibc
import HermesProtocol
import HermesSystem

/// A folder that belongs to this user alone and holds a folder for each of their runs. It is held open and everything
/// beneath is reached from there, so that nobody can have Hermes clear another place by putting a link in its way.
final class RunBase {
    let path: String
    private let descriptor: Int32

    /// - Parameter makes: makes the folder where there is none.
    /// - Returns: nil when there is none, or it went that moment.
    /// - Throws: `RunFailure` when what has that name is no private folder of this user. Nothing in it is touched.
    init?(_ path: String, makes: Bool = false) throws {
        self.path = path
        if makes && mkdir(path, 0o700) != 0 && errno != EEXIST { throw Self.failure("can't make \(path)") }
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            let isOther = [ELOOP, ENOTDIR, EACCES].contains(errno)
            throw isOther ? Self.notPrivate(path) : Self.failure("can't open \(path)")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_uid == getuid(), status.st_mode & 0o077 == 0 else {
            throw Self.notPrivate(path)
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func failure(_ what: String) -> RunFailure {
        RunFailure(.resource, cause: "\(what): \(SystemError.reason(errno))")
    }

    private static func notPrivate(_ path: String) -> RunFailure {
        var status = stat()
        if lstat(path, &status) == 0, status.st_uid != getuid() {
            return RunFailure(
                .resource,
                cause:
                    "\(path) is not a private folder of this user: it belongs to user \(UserName.of(status.st_uid)); only that "
                    + "user or root can remove it: sudo rm -r \(path)")
        }
        return RunFailure(.resource, cause: "\(path) is not a private folder of this user; remove it")
    }

    /// Names of runs; what has another kind of name is none.
    var names: [String] { ((try? Folder.entries(of: descriptor)) ?? []).compactMap(\.text) }

    /// Makes a run's folder unless it is there; false when the base has gone.
    func make(_ name: String) throws -> Bool {
        if mkdirat(descriptor, name, 0o700) == 0 || errno == EEXIST { return true }
        if errno == ENOENT { return false }
        throw Self.failure("can't make \(path)/\(name)")
    }

    /// A run's folder, opened and locked; nil when there is none, somebody else has it, or it was replaced meanwhile.
    func lock(_ name: String) -> Int32? { try? take(name) }

    /// The same.
    /// - Throws: `RunFailure` when it can't be opened though it is there.
    func take(_ name: String) throws -> Int32? {
        let folder = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard folder >= 0 else {
            if [ENOENT, ELOOP, ENOTDIR].contains(errno) { return nil }
            throw Self.failure("can't open \(path)/\(name)")
        }
        var opened = stat(), named = stat()
        if flock(folder, LOCK_EX | LOCK_NB) == 0, fstat(folder, &opened) == 0,
            fstatat(descriptor, name, &named, AT_SYMLINK_NOFOLLOW) == 0, opened.st_ino == named.st_ino,
            opened.st_dev == named.st_dev
        {
            return folder
        }
        close(folder)
        return nil
    }

    /// Removes what lies in a locked run's folder.
    static func clear(_ folder: Int32) {
        for entry in (try? Folder.entries(of: folder)) ?? [] { unlinkat(folder, entry.cString, 0) }
    }

    /// The same where no descriptors may be left.
    /// - Parameter listing: of the same folder, opened for this; closed with it.
    static func clear(_ folder: Int32, listing: Int32) {
        for entry in (try? Folder.entries(taking: listing)) ?? [] { unlinkat(folder, entry.cString, 0) }
    }

    /// Removes a run's folder when it is empty.
    func remove(_ name: String) { unlinkat(descriptor, name, AT_REMOVEDIR) }
}
