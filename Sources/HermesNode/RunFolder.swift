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
    private let base: PrivateFolder

    public static var base: String { "/dev/shm/hermes-\(geteuid())" }
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
            if let (base, lock) = try Self.take(name) {
                self.base = base
                self.lock = lock
                return
            }
            if hermes_segment_owner_state(Self.segmentName(of: name)) == 1 || Self.answers(path)
                || monotonicNow() > giveUp
            {
                throw RunFailure(
                    .refused,
                    cause: "a simulation named '\(name)' already runs here; end it with `hermes stop \(name)` "
                        + "or start this one under another --name")
            }
            usleep(20_000)
        }
    }

    /// The base folder and the lock on the run's, nil when somebody else has it.
    private static func take(_ name: String) throws -> (base: PrivateFolder, lock: Int32)? {
        guard let base = try PrivateFolder.open(base, creating: true) else { return nil }
        guard base.makeFolder(name) else {
            // Gone since it was opened: its last user removed it. Try again.
            if errno == ENOENT { return nil }
            throw PrivateFolder.failure("can't make \(path(of: name))")
        }
        return base.lockFolder(name).map { (base, $0) }
    }

    /// True when something listens on the folder's control socket.
    private static func answers(_ path: String) -> Bool {
        let socket = UnixSocket.connect(to: "\(path)/control.sock")
        if let socket { close(socket) }
        return socket != nil
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
        Self.clear(lock)
        base.removeFolder(name)
        close(lock)
        rmdir(Self.base)
    }

    /// Removes what a run makes in its folder, and nothing else.
    private static func clear(_ folder: Int32) {
        for entry in PrivateFolder.entries(of: openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        where entry == "control.sock" || entry.hasSuffix(".command") || entry.hasSuffix(".reply") {
            unlinkat(folder, entry, 0)
        }
    }

    /// Names of simulations whose folder is there and locked: those that run.
    public static func running() -> [String] {
        guard let base = try? PrivateFolder.open(base, creating: false) else { return [] }
        return base.entries.filter { name in
            guard let lock = base.lockFolder(name) else { return true }
            close(lock)
            return false
        }.sorted()
    }

    /// Removes what dead runs of this user left: folders without a lock, segments without an owner.
    public static func sweep() {
        if let base = try? PrivateFolder.open(base, creating: false) {
            for name in base.entries {
                if let lock = base.lockFolder(name) { removeLeft(by: name, in: base, lock) }
            }
        }
        let prefix = "hermes_"
        let shared = PrivateFolder.entries(of: open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        for file in shared where file.hasPrefix(prefix) && file != prefix && isOwn("/dev/shm/\(file)") {
            let name = String(file.dropFirst(prefix.count))
            // Only under the folder's lock: somebody may just be making a segment of that name.
            guard hermes_segment_owner_state("/" + file) == 0, let (base, lock) = try? take(name) else { continue }
            removeLeft(by: name, in: base, lock)
        }
        rmdir(base)
    }

    /// A regular file of this user: what others leave there is theirs to remove, also for root.
    private static func isOwn(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && status.st_uid == geteuid()
    }

    /// Removes what a dead run left; the folder last, for with it goes the lock that keeps others out.
    private static func removeLeft(by name: String, in base: PrivateFolder, _ lock: Int32) {
        clear(lock)
        if hermes_segment_owner_state(segmentName(of: name)) == 0 { hermes_segment_unlink(segmentName(of: name)) }
        base.removeFolder(name)
        close(lock)
    }
}
