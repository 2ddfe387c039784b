import CHermes
import CKeeper
import Glibc
import HermesProtocol
import HermesSystem

/// `/dev/shm/hermes-<uid>/<name>`, mode 0700: FIFOs and the control socket of one run. A lock on the folder, held
/// while its owner lives, says whether what lies there is in use; what is not is swept at every start.
public final class RunFolder {
    public let path: String
    public let name: String
    let lock: Int32
    /// For the end, when there may be no descriptors left.
    private let runs: RunBase
    private let listing: Int32

    public static var base: String { "/dev/shm/hermes-\(getuid())" }
    public static func path(of name: String) -> String { "\(base)/\(name)" }
    public static func segmentName(of name: String) -> String { "/hermes_\(name)" }

    /// How long a run that was killed may still be clearing up behind itself.
    private static let clearingSeconds = 4.0

    /// Takes the folder of a simulation.
    /// - Parameters:
    ///   - host: where it is part of a run that somebody started elsewhere.
    ///   - waitingSeconds: where it is known that the run that has the name ends: how long that may take.
    /// - Throws: `RunFailure` with what to do when a living run has that name.
    public init(name: String, host: String? = nil, waitingSeconds: Double? = nil) throws {
        self.name = name
        path = Self.path(of: name)
        Self.sweep()
        if let owner = Self.otherOwner(of: name) {
            throw RunFailure(
                .refused,
                cause: "user \(UserName.of(owner)) has a simulation named '\(name)' on "
                    + (host.map { "host \($0)" } ?? "this machine")
                    + ", whose users share names; start this one under another --name")
        }
        let giveUp = deadline(after: waitingSeconds ?? Self.clearingSeconds)
        while true {
            if let (lock, runs) = try Self.take(name) {
                self.lock = lock
                self.runs = runs
                listing = openat(lock, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                guard listing >= 0 else {
                    let error = SystemError("can't open \(path)")
                    Self.removeLeft(by: name, lock, runs)
                    rmdir(Self.base)
                    throw RunFailure(.resource, cause: "\(error)")
                }
                return
            }
            if monotonicNow() > giveUp || waitingSeconds == nil && Self.isInUse(name) {
                throw RunFailure(
                    .refused,
                    cause: host.map {
                        "a simulation of that name already runs on host \($0); start this one under another --name"
                    }
                        ?? "a simulation named '\(name)' already runs here; end it with `hermes stop \(name)` "
                        + "or start this one under another --name")
            }
            usleep(20_000)
        }
    }

    /// The other user whose segment has a simulation's name: names of segments are the machine's, run folders each user's.
    public static func otherOwner(of name: String) -> uid_t? {
        var status = stat()
        guard lstat("/dev/shm" + segmentName(of: name), &status) == 0, status.st_uid != getuid() else { return nil }
        return status.st_uid
    }

    /// The folder's lock, nil when somebody else has it.
    private static func take(_ name: String) throws -> (lock: Int32, runs: RunBase)? {
        guard let runs = try RunBase(base, makes: true) else { return nil }
        do {
            guard try runs.make(name) else { return nil }
            return try runs.take(name).map { ($0, runs) }
        } catch {
            // Only what is empty goes.
            runs.remove(name)
            rmdir(base)
            throw error
        }
    }

    private static func isInUse(_ name: String) -> Bool {
        hermes_segment_owner_state(segmentName(of: name)) == 1 || answers(path(of: name))
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
        keeper_register(&processKeeper, Int32(KEEPER_UNLINK), "\(path)/mirror.sock")
    }

    public func remove() {
        RunBase.clear(lock, listing: listing)
        runs.remove(name)
        close(lock)
        rmdir(Self.base)
    }

    /// Names of simulations whose folder is there and locked: those that run.
    public static func running() -> [String] {
        guard let runs = try? RunBase(base) else { return [] }
        return runs.names.filter { name in
            guard let lock = runs.lock(name) else { return true }
            close(lock)
            return false
        }.sorted()
    }

    /// Removes what dead runs of this user left: folders without a lock, segments without an owner.
    public static func sweep() {
        if let runs = try? RunBase(base) {
            for name in runs.names {
                if let lock = runs.lock(name) { removeLeft(by: name, lock, runs) }
            }
        }
        let prefix: ByteString = "hermes_"
        for file in (try? Folder.entries(of: "/dev/shm")) ?? [] where file.hasPrefix(prefix) && file != prefix {
            // A simulation's name is text. What others leave is theirs to remove, also for root.
            var status = stat()
            guard let name = file.dropFirst(prefix.count).text,
                lstat(("/dev/shm/\(file)" as ByteString).cString, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
                status.st_uid == getuid()
            else { continue }
            // Only under the folder's lock: somebody may just be making a segment of that name.
            guard hermes_segment_owner_state(segmentName(of: name)) == 0, let taken = try? take(name)
            else { continue }
            removeLeft(by: name, taken.lock, taken.runs)
        }
        rmdir(base)
    }

    /// Removes what a dead run left; the folder last, for with it goes the lock that keeps others out.
    private static func removeLeft(by name: String, _ lock: Int32, _ runs: RunBase) {
        RunBase.clear(lock)
        if hermes_segment_owner_state(segmentName(of: name)) == 0 { hermes_segment_unlink(segmentName(of: name)) }
        runs.remove(name)
        close(lock)
    }
}
