import Glibc

/// A call of the system that failed.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    /// errno.
    public var code: Int32
    /// What could not be done: "can't read the folder x".
    public var action: String
    /// A thread or process was to be started: EAGAIN tells of a limit then, and not of trying again.
    private var isStart = false

    public init(_ action: String, code: Int32 = errno) {
        self.action = action
        self.code = code
    }

    /// A thread or process that could not be started: "a thread for the recording".
    public init(starting task: String, code: Int32 = errno) {
        action = "can't start \(task)"
        self.code = code
        isStart = true
    }

    /// What could not be done, the system's reason, and the cure where a limit was reached.
    public var description: String { "\(action): \(isStart ? Self.startReason(code) : Self.reason(code))" }

    /// The same for an errno of `fork`, `posix_spawn` or `pthread_create`.
    public static func startReason(_ code: Int32) -> String {
        guard code == EAGAIN else { return reason(code) }
        return
            "this user or control group has as many processes and threads as it may; raise `ulimit -u` or the control "
            + "group's pids.max" + (isMemoryLimited ? "; or the memory that `ulimit -v` allows is used up" : "")
    }

    /// The C library says EAGAIN, too, when there is no memory for a thread's stack.
    private static var isMemoryLimited: Bool {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0 && limit.rlim_cur != .max
    }

    /// The system's words for an errno, and the cure where it tells of a limit.
    public static func reason(_ code: Int32) -> String {
        let text = String(cString: strerror(code))
        return cure(code).map { "\(text); \($0)" } ?? text
    }

    /// Where several limits give one errno, all that a user may have met.
    private static func cure(_ code: Int32) -> String? {
        switch code {
        case EMFILE: "this process has as many files open as it may; raise `ulimit -n`"
        case ENFILE: "this machine has as many files open as it may; raise fs.file-max"
        case ENOMEM: "memory is used up, or a limit on it is reached (`ulimit -v`, the control group's memory.max)"
        case EDQUOT: "this user's quota on the file system is used up"
        case EFBIG: "a file may not grow as large here; raise `ulimit -f`"
        default: nil
        }
    }
}
