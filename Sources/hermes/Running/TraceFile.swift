import Glibc
import HermesCoordinator
import HermesProtocol
import HermesSystem
import Synchronization

/// Where the timeline of a run goes: FILE at the end, and FILE.overrun-1.json and so on for the first few overruns, unless
/// FILE is a FIFO, a device or what the process was given open.
final class TraceFile: Sendable {
    private let file: OutputFile
    private let console: Console
    private let overruns = Mutex<[pthread_t]>([])

    init(file: OutputFile, console: Console) {
        self.file = file
        self.console = console
    }

    /// Once the run is over. Nil for a run that ended before it could be traced, which leaves an empty timeline.
    /// - Returns: false, and said, when it can't be written.
    func write(_ trace: RunTrace?) -> Bool {
        for thread in overruns.withLock({ $0 }) { pthread_join(thread, nil) }
        return tell { () throws(OutputError) in
            try file.write(trace?.json() ?? Array("{\"traceEvents\":[]}\n".utf8))
        }
    }

    /// Written on a thread of its own: only the copy of the events holds up the frames.
    func writeOverrun(_ trace: RunTrace) {
        guard file.isPlain else { return }
        overruns.withLock { threads in
            let number = threads.count + 1
            do {
                threads.append(
                    try startThread("the timeline of an overrun") { [self] in
                        _ = tell { () throws(OutputError) in
                            let name = ByteString(".overrun-\(number).json")
                            try file.beside(beginning: "{") { $0 + name }.write(trace.json())
                        }
                    })
            } catch {
                console.warning("no timeline of an overrun: \(error)")
            }
        }
    }

    private func tell(_ body: () throws(OutputError) -> Void) -> Bool {
        do throws(OutputError) {
            try body()
            return true
        } catch {
            console.error("the timeline \(error)")
            return false
        }
    }
}
