import CKeeper
import Glibc
import HermesSystem

/// The keeper of a run's process, seen from the node: where that process is killed the keeper terminates the modules and
/// clears up, so it is continued in case it is stopped, and killed where it does not end.
final class RunKeeper {
    let runName: String
    private let process: Int32
    private var limit: UInt64 = .max
    /// Its own time-outs (keeper.c) and some more.
    private static let endingSeconds = 7.0

    /// Nil when there is no such process any more.
    init?(_ pid: pid_t, runName: String) {
        self.runName = runName
        process = keeper_process_open(pid)
        if process < 0 { return nil }
    }

    deinit { if process >= 0 { close(process) } }

    /// The run's process is gone.
    func beginEnd() {
        limit = deadline(after: Self.endingSeconds)
        _ = keeper_process_signal(process, SIGCONT)
    }

    /// Looks after it; true once it has ended.
    func hasEnded() -> Bool {
        var ended = pollfd(fd: process, events: Int16(POLLIN), revents: 0)
        if Glibc.poll(&ended, 1, 0) > 0 { return true }
        if monotonicNow() > limit { _ = keeper_process_signal(process, SIGKILL) }
        return false
    }
}
