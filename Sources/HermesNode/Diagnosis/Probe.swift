import Glibc
import HermesSystem
import Synchronization

/// A program that is started to see whether it works: it has its time, and ends with all it started.
public enum Probe {
    enum Outcome {
        /// The status of waitpid, and what it wrote.
        case ended(status: Int32, lines: [String])
        case timedOut
        /// Nobody wants to know any more.
        case unwanted
        case notStarted(SystemError)
    }

    /// What it may write; more is not read.
    private static let mostBytes = 64 << 10
    private static let running = Mutex<Set<pid_t>>([])

    /// - Parameters:
    ///   - arguments: the program first, looked for on PATH.
    ///   - environment: over this process's own.
    ///   - isWanted: asked while it runs.
    static func run(
        _ arguments: [ByteString], environment: [(name: String, value: ByteString)], seconds: Double,
        isWanted: () -> Bool
    ) -> Outcome {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return .notStarted(SystemError("can't make a pipe")) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        defer { close(ends[0]) }
        let code = spawn(arguments, environment, output: ends[1])
        close(ends[1])
        switch code {
        case .failure(let error): return .notStarted(error)
        case .success(let pid):
            defer { end(pid) }
            return follow(pid, output: ends[0], until: deadline(after: seconds), isWanted)
        }
    }

    /// Ends those under way, for a process that is about to end itself.
    public static func endAll() { running.withLock { $0.forEach { kill(-$0, SIGKILL) } } }

    private static func follow(
        _ pid: pid_t, output: Int32, until limit: UInt64, _ isWanted: () -> Bool
    ) -> Outcome {
        var bytes: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 4096)
        while true {
            guard isWanted() else { return .unwanted }
            guard monotonicNow() < limit else { return .timedOut }
            // Its end shows by itself: what it started may hold the pipe.
            var ended = siginfo_t()
            let hasEnded = waitid(P_PID, id_t(pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_signo != 0
            var watched = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            poll(&watched, 1, hasEnded ? 0 : 20)
            while case let count = read(output, &room, room.count), count > 0 {
                bytes += room[..<count].prefix(mostBytes - bytes.count)
            }
            guard hasEnded else { continue }
            var status: Int32 = 0
            _ = running.withLock { $0.remove(pid) }
            // The number of the group is its own until it has been waited for.
            kill(-pid, SIGKILL)
            waitpid(pid, &status, 0)
            let lines = bytes.split(separator: 10).map { ByteString(bytes: $0).description }
            return .ended(status: status, lines: lines)
        }
    }

    private static func end(_ pid: pid_t) {
        guard running.withLock({ $0.remove(pid) }) != nil else { return }
        kill(-pid, SIGKILL)
        // One that hangs in the disk can't be waited for.
        let limit = deadline(after: 1)
        while waitpid(pid, nil, WNOHANG) == 0 && monotonicNow() < limit { usleep(5000) }
    }

    private static func spawn(
        _ arguments: [ByteString], _ environment: [(name: String, value: ByteString)], output: Int32
    ) -> Result<pid_t, SystemError> {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        let own = environment.map { ByteString($0.name + "=") }
        var variables = environment.map { ByteString($0.name + "=") + $0.value }
        var next = environ
        while let entry = next.pointee {
            let text = ByteString(cString: entry)
            if !own.contains(where: text.hasPrefix) { variables.append(text) }
            next += 1
        }
        let words = arguments.map { $0.withCString { strdup($0) } } + [nil]
        let texts = variables.map { $0.withCString { strdup($0) } } + [nil]
        defer { (words + texts).forEach { free($0) } }
        return running.withLock { running in
            var pid: pid_t = 0
            let code = posix_spawnp(&pid, words[0]!, &actions, &attributes, words, texts)
            guard code == 0 else { return .failure(SystemError(starting: "\(arguments[0])", code: code)) }
            running.insert(pid)
            return .success(pid)
        }
    }
}
