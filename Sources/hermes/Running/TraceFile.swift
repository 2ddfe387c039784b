import Glibc
import HermesCoordinator
import HermesProtocol
import HermesSystem
import Synchronization

/// Where the timeline of a run goes: FILE at the end, and FILE.overrun-1.json and so on for the first few overruns.
final class TraceFile: Sendable {
    private let path: String
    private let console: Console
    private let overruns = Mutex<[pthread_t]>([])

    init(path: String, console: Console) {
        self.path = path
        self.console = console
    }

    /// Once the run is over. Nil for a run that ended before it could be traced, which leaves an empty timeline.
    /// - Returns: false, and said, when it can't be written.
    func write(_ trace: RunTrace?) -> Bool {
        for thread in overruns.withLock({ $0 }) { pthread_join(thread, nil) }
        return write(trace?.json() ?? Array("{\"traceEvents\":[]}\n".utf8), to: path)
    }

    /// Written on a thread of its own: only the copy of the events holds up the frames.
    func writeOverrun(_ trace: RunTrace) {
        overruns.withLock { threads in
            let file = "\(path).overrun-\(threads.count + 1).json"
            do {
                threads.append(
                    try startThread("the timeline of an overrun") { [self] in _ = write(trace.json(), to: file) })
            } catch {
                console.warning("no timeline of an overrun: \(error)")
            }
        }
    }

    private func write(_ bytes: [UInt8], to path: String) -> Bool {
        do {
            try OutputFile.write(bytes, to: path)
            return true
        } catch {
            console.error("the timeline \(error.cause)")
            return false
        }
    }
}
