import Glibc

/// A call of the system that failed.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    /// errno.
    public var code: Int32
    /// What could not be done: "can't start a thread".
    public var action: String

    public init(_ action: String, code: Int32 = errno) {
        self.action = action
        self.code = code
    }

    /// What could not be done, the system's reason, and the cure where a limit was reached.
    public var description: String { "\(action): \(Self.reason(code))" }

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
        case ENOSPC: "the file system is full"
        case EDQUOT: "this user's quota on the file system is used up"
        case EFBIG: "a file may not grow as large here; raise `ulimit -f`"
        default: nil
        }
    }
}
