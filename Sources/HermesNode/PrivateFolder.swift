import Glibc
import HermesProtocol

/// A folder that only this user can change, held by a descriptor. Anybody may put something else under its name in
/// /dev/shm: a link, a folder of their own. So it is opened without following links, its owner and mode are checked on
/// the descriptor, and everything beneath is reached from there, never again by a path.
final class PrivateFolder {
    let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }

    /// Nil when there is none and it is not to be made.
    /// - Throws: `RunFailure` when what stands there is not a private folder of this user.
    static func open(_ path: String, creating: Bool) throws -> PrivateFolder? {
        if creating && mkdir(path, 0o700) != 0 && errno != EEXIST { throw failure("can't make \(path)") }
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0 && errno == ENOENT { return nil }
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0
        else {
            if descriptor >= 0 { close(descriptor) }
            throw RunFailure(
                .resource, cause: "\(path) is not a private folder of this user; whoever put it there has to remove it")
        }
        return PrivateFolder(descriptor)
    }

    /// Names in the folder, without `.` and `..`.
    var entries: [String] { Self.entries(of: openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) }

    /// Makes a folder inside; true also when it is there.
    func makeFolder(_ name: String) -> Bool { mkdirat(descriptor, name, 0o700) == 0 || errno == EEXIST }

    /// Removes an empty folder inside.
    func removeFolder(_ name: String) { unlinkat(descriptor, name, AT_REMOVEDIR) }

    /// A locked folder inside, nil when it isn't there, isn't a folder, is locked or was replaced meanwhile.
    func lockFolder(_ name: String) -> Int32? {
        let folder = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else { return nil }
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

    /// Names in the folder of a descriptor, which is closed.
    static func entries(of descriptor: Int32) -> [String] {
        guard descriptor >= 0, let folder = fdopendir(descriptor) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    static func failure(_ what: String) -> RunFailure {
        RunFailure(.resource, cause: "\(what): \(String(cString: strerror(errno)))")
    }
}
