import CHermes
import CKeeper
import Glibc
import HermesProtocol

/// `/dev/shm/hermes-<uid>/<name>`, mode 0700: FIFOs and the control socket of one run. A lock on the folder, held
/// while its owner lives, says whether what lies there is in use; what is not is swept at every start.
public final class RunFolder {
    public let path: String
    public let name: String
    let lock: Int32

    public static var base: String { "/dev/shm/hermes-\(getuid())" }
    public static func path(of name: String) -> String { "\(base)/\(name)" }
    public static func segmentName(of name: String) -> String { "/hermes_\(name)" }

    /// How long a run that was killed may still be clearing up behind itself.
    private static let clearingSeconds = 4.0

    /// Takes the folder of a simulation.
    /// - Throws: `RunFailure` with what to do when a living run has that name.
    public init(name: String) throws {
        self.name = name
        path = Self.path(of: name)
        Self.sweep()
        let giveUp = deadline(after: Self.clearingSeconds)
        while true {
            if let lock = try Self.take(path) {
                self.lock = lock
                return
            }
            if hermes_segment_owner_state(Self.segmentName(of: name)) == 1 || Self.answers(path) || monotonicNow() > giveUp {
                throw RunFailure(
                    .refused,
                    cause: "a simulation named '\(name)' already runs here; end it with `hermes stop \(name)` "
                        + "or start this one under another --name")
            }
            usleep(20_000)
        }
    }

    /// The folder's lock, nil when somebody else has it.
    private static func take(_ path: String) throws -> Int32? {
        if mkdir(base, 0o700) != 0 && errno != EEXIST { throw failure("can't make \(base)") }
        var status = stat()
        guard lstat(base, &status) == 0 else { return nil }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == getuid(), status.st_mode & 0o077 == 0 else {
            throw RunFailure(.resource, cause: "\(base) is not a private folder of this user; remove it")
        }
        if mkdir(path, 0o700) != 0 && errno != EEXIST {
            if errno == ENOENT { return nil }
            throw failure("can't make \(path)")
        }
        return lock(path)
    }

    /// Locks a folder unless it is locked or was replaced meanwhile.
    private static func lock(_ path: String) -> Int32? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        var opened = stat(), named = stat()
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0, fstat(descriptor, &opened) == 0, lstat(path, &named) == 0,
            opened.st_ino == named.st_ino
        {
            return descriptor
        }
        close(descriptor)
        return nil
    }

    private static func failure(_ what: String) -> RunFailure {
        RunFailure(.resource, cause: "\(what): \(String(cString: strerror(errno)))")
    }

    /// True when something listens on the folder's control socket.
    private static func answers(_ path: String) -> Bool {
        guard let socket = UnixSocket.connect(to: "\(path)/control.sock") else { return errno == EAGAIN }
        close(socket)
        return true
    }

    /// Has a keeper hold the lock and clear the folder should this process die.
    func register(with processKeeper: inout keeper) {
        keeper_hold(&processKeeper, lock)
        keeper_register(&processKeeper, Int32(KEEPER_RMDIR), Self.base)
        keeper_register(&processKeeper, Int32(KEEPER_RMDIR), path)
        keeper_register(&processKeeper, Int32(KEEPER_UNLINK), "/dev/shm" + Self.segmentName(of: name))
        keeper_register(&processKeeper, Int32(KEEPER_UNLINK), "\(path)/control.sock")
    }

    public func remove() {
        Self.clear(path)
        rmdir(path)
        close(lock)
        rmdir(Self.base)
    }

    private static func clear(_ path: String) {
        for entry in entries(of: path) { unlink("\(path)/\(entry)") }
    }

    static func entries(of path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
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

    /// Names of simulations whose folder is there and locked: those that run.
    public static func running() -> [String] {
        entries(of: base).filter { name in
            guard let lock = lock(path(of: name)) else { return true }
            close(lock)
            return false
        }.sorted()
    }

    /// Removes what dead runs of this user left: folders without a lock, segments without an owner.
    public static func sweep() {
        for name in entries(of: base) {
            if let lock = lock(path(of: name)) { removeLeft(by: name, lock) }
        }
        let prefix = "hermes_"
        for file in entries(of: "/dev/shm") where file.hasPrefix(prefix) && file != prefix {
            let name = String(file.dropFirst(prefix.count))
            // Only under the folder's lock: somebody may just be making a segment of that name.
            guard hermes_segment_owner_state("/" + file) == 0, let lock = try? take(path(of: name)) else { continue }
            removeLeft(by: name, lock)
        }
        rmdir(base)
    }

    /// Removes what a dead run left; the folder last, for with it goes the lock that keeps others out.
    private static func removeLeft(by name: String, _ lock: Int32) {
        clear(path(of: name))
        if hermes_segment_owner_state(segmentName(of: name)) == 0 { hermes_segment_unlink(segmentName(of: name)) }
        rmdir(path(of: name))
        close(lock)
    }
}

/// Stream sockets in the file system.
public enum UnixSocket {
    /// A connected socket, nil with errno set when nobody listens there. Never waits: EAGAIN tells of a listener that
    /// accepts nobody.
    public static func connect(to path: String) -> Int32? {
        guard let socket = make() else { return nil }
        let flags = fcntl(socket, F_GETFL)
        _ = fcntl(socket, F_SETFL, flags | O_NONBLOCK)
        guard withAddress(path, { Glibc.connect(socket, $0, $1) }) == 0 else {
            let code = errno
            close(socket)
            errno = code
            return nil
        }
        _ = fcntl(socket, F_SETFL, flags)
        return socket
    }

    /// A listening socket of mode 0600, nil with errno set.
    public static func listen(at path: String) -> Int32? {
        guard let socket = make() else { return nil }
        // Its folder is private, so nobody else reaches it before chmod.
        guard withAddress(path, { bind(socket, $0, $1) }) == 0, chmod(path, 0o600) == 0, Glibc.listen(socket, 16) == 0
        else {
            close(socket)
            return nil
        }
        return socket
    }

    private static func make() -> Int32? {
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        return socket >= 0 ? socket : nil
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            errno = ENAMETOOLONG
            return -1
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
