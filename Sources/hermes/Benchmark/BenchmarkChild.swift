import ArgumentParser
import CKeeper
import Glibc
import HermesProtocol
import HermesSystem

/// A process that a benchmark starts: in a group of its own, so that Ctrl-C is for the benchmark alone; it gets SIGTERM
/// when the benchmark dies. Its output goes to files.
final class BenchmarkChild {
    struct Ended {
        /// As of `waitpid`; 0 in order.
        var status: Int32
        /// Seconds of itself and of its children it waited for.
        var cpuSeconds: Double
        var output, errors: String
    }

    let pid: pid_t
    private let name: String
    private let folder: BenchmarkFolder
    private let signals: Int32
    /// Ends when the process and all that it started have.
    private let life: Int32
    private var ended: Ended?

    /// - Parameter name: of its output's files, which are gone with the next of that name.
    /// - Throws: `RunFailure` when it can't be started.
    init(_ command: [String], called name: String, _ bench: BenchmarkPlace) throws {
        self.name = name
        folder = bench.folder
        signals = bench.signals
        var ends: [Int32] = [-1, -1]
        guard keeper_pipe(&ends) == 0 else { throw Self.failure("can't make a pipe", errno) }
        life = ends[0]
        defer { close(ends[1]) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        let flags = O_WRONLY | O_CREAT | O_TRUNC
        posix_spawn_file_actions_addopen(&actions, 1, "\(folder.path)/\(name).out", flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "\(folder.path)/\(name).err", flags, 0o600)
        // Above those that programs expect something at.
        posix_spawn_file_actions_adddup2(&actions, ends[1], 19)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        let words =
            ([bench.programs.module, "start"] + command).map { strdup(ByteString(encodedText: $0).cString) } + [nil]
        defer { words.forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, bench.programs.module, &actions, &attributes, words, environ)
        guard code == 0 else {
            close(life)
            throw Self.failure("can't start \(command[0])", code)
        }
        self.pid = pid
    }

    deinit { close(life) }

    /// - Throws: `ExitCode` 130 when a signal comes meanwhile, `RunFailure` when it takes longer than that. It is ended then.
    func finish(withinSeconds seconds: Double) throws -> Ended {
        do {
            guard try wait(seconds) else {
                throw RunFailure(.timeout, cause: "\(name) did not end within \(decimals(seconds, 0)) s")
            }
        } catch {
            end()
            throw error
        }
        return reap()
    }

    /// True when all of it has ended.
    /// - Throws: `ExitCode` 130 when a signal comes.
    private func wait(_ seconds: Double, isInterruptible: Bool = true) throws -> Bool {
        let limit = deadline(after: seconds)
        while true {
            let left = limit > monotonicNow() ? (limit - monotonicNow()) / 1_000_000 : 0
            var watched = [
                pollfd(fd: life, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isInterruptible ? signals : -1, events: Int16(POLLIN), revents: 0),
            ]
            poll(&watched, 2, Int32(min(left + 1, 1000)))
            if watched[1].revents != 0 { throw ExitCode(130) }
            if watched[0].revents != 0 { return true }
            if left == 0 { return false }
        }
    }

    /// False once its own process has ended.
    var isRunning: Bool {
        guard ended == nil else { return false }
        var information = siginfo_t()
        return waitid(P_PID, id_t(pid), &information, WEXITED | WNOHANG | WNOWAIT) == 0
            && information.si_signo == 0
    }

    /// In order if it can be, otherwise not: in any case it is gone, with its group, when this returns.
    /// - Parameter target: whom to tell, if not its own process.
    @discardableResult
    func end(telling target: pid_t? = nil) -> Ended {
        if let ended { return ended }
        kill(target ?? pid, SIGTERM)
        if (try? wait(10, isInterruptible: false)) != true {
            kill(-pid, SIGKILL)
            _ = try? wait(5, isInterruptible: false)
        }
        return reap()
    }

    private func reap() -> Ended {
        if let ended { return ended }
        var status: Int32 = 0
        var usage = rusage()
        while wait4(pid, &status, 0, &usage) < 0 && errno == EINTR {}
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        let result = Ended(
            status: status, cpuSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            output: folder.read("\(name).out"), errors: folder.read("\(name).err"))
        ended = result
        return result
    }

    private static func failure(_ what: String, _ code: Int32) -> RunFailure {
        RunFailure(.resource, cause: "\(what): \(String(cString: strerror(code)))")
    }
}

extension BenchmarkChild.Ended {
    /// The last lines that say something, for a failure's cause.
    var lastWords: String {
        let lines = (errors + "\n" + output).split(whereSeparator: \.isNewline).filter { !$0.contains("hermes-bench ") }
        return lines.isEmpty ? "it said nothing (status \(status))" : lines.suffix(3).joined(separator: " / ")
    }
}

/// Where a benchmark is at work: its folder, its programs and how it hears that it is to end.
struct BenchmarkPlace {
    let folder: BenchmarkFolder
    let programs: BenchmarkPrograms
    /// A byte for each signal.
    let signals: Int32

    /// Runs a command to its end.
    /// - Throws: `RunFailure` with its last words when it fails; `ExitCode` 130 when a signal comes.
    func run(_ command: [String], called name: String, withinSeconds seconds: Double) throws -> BenchmarkChild.Ended {
        let ended = try BenchmarkChild(command, called: name, self).finish(withinSeconds: seconds)
        guard ended.status == 0 else { throw RunFailure(.launch, cause: "\(name): \(ended.lastWords)") }
        return ended
    }

    /// - Throws: `ExitCode` 130 when a signal has come.
    func checkSignals(waitingMilliseconds: Int32 = 0) throws {
        var entry = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, waitingMilliseconds) > 0 { throw ExitCode(130) }
    }
}
