import Glibc
import HermesProtocol
import HermesSystem

/// The process of one run: this program once more, with a socket to say things by as descriptor 3.
final class WorkerProcess {
    static let descriptor: Int32 = 3
    let pid: pid_t
    let channel: LineChannel

    /// - Throws: `RunFailure` when no process can be had.
    init() throws {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw RunFailure(.resource, cause: "\(SystemError("can't make a socket"))")
        }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], Self.descriptor)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        // A group of its own: Ctrl-C is for the node, which ends its runs in order.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        var pid: pid_t = 0
        let arguments: [UnsafeMutablePointer<CChar>?] = [strdup("hermes-node"), strdup("--worker"), nil]
        defer { arguments.forEach { free($0) } }
        let code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, arguments, environ)
        guard code == 0 else {
            close(ends[0])
            throw RunFailure(.resource, cause: "\(SystemError(starting: "a process", code: code))")
        }
        self.pid = pid
        channel = LineChannel(ends[0])
    }

    deinit { close(channel.descriptor) }

    /// The process's status once it has ended: 0 in order; nil while it lives.
    func reap() -> Int32? {
        var status: Int32 = 0
        return waitpid(pid, &status, WNOHANG) == 0 ? nil : status
    }
}
