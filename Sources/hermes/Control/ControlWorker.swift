import Glibc
import HermesSystem

/// Reads and writes long messages of clients, on a thread of its own and one after the other.
final class ControlWorker: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var isOver = false
    }
    private let state = Monitor(State())

    /// - Throws: `SystemError` when there is no thread for it.
    init() throws(SystemError) { try startDetachedThread("the control socket") { [self] in run() } }

    /// What has been taken up already is finished by itself, and not waited for.
    func end() {
        state.with { state in
            state.isOver = true
            state.jobs = []
        }
    }

    func post(_ job: @escaping @Sendable () -> Void) {
        state.with { state in
            if !state.isOver { state.jobs.append(job) }
        }
    }

    private func run() {
        Self.giveWay()
        while true {
            let jobs = state.wait(until: .max / 2) { state -> [@Sendable () -> Void]? in
                if state.isOver { return [] }
                if state.jobs.isEmpty { return nil }
                defer { state.jobs = [] }
                return state.jobs
            }
            guard let jobs, !jobs.isEmpty else { return }
            for job in jobs where !state.with(\.isOver) { job() }
        }
    }

    /// Before clients come the frames: the calling thread, of this thread alone on Linux, gets less of the processor.
    static func giveWay() { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10) }
}
