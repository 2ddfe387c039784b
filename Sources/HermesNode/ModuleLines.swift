import HermesProtocol
import Synchronization

/// What the modules of a run print, on its way to the coordinator's console. Nobody waits for it: what comes faster than it
/// can be carried is dropped, counted, and told as soon as there is room again.
final class ModuleLines: Sendable {
    private let run: UInt64
    private let host: String
    private let channel: LineChannel
    private let dropped = Mutex(0)

    init(run: UInt64, host: String, channel: LineChannel) {
        self.run = run
        self.host = host
        self.channel = channel
    }

    /// From any thread.
    func say(_ module: String, _ text: String) {
        dropped.withLock { dropped in
            if dropped > 0 {
                let notice = Self.notice(dropped, host: host, run: run)
                guard channel.offer({ try? ControlMessage("line", notice) }) else {
                    dropped += 1
                    return
                }
                dropped = 0
            }
            let isSent = channel.offer {
                try? ControlMessage("line", SaidLine(run: run, module: module, text: text))
            }
            if !isSent { dropped += 1 }
        }
    }

    /// What is still to be told at the end.
    func finish() {
        dropped.withLock { dropped in
            if dropped > 0 { channel.say("line", Self.notice(dropped, host: host, run: run)) }
            dropped = 0
        }
        channel.flush()
    }

    static func notice(_ dropped: Int, host: String, run: UInt64) -> SaidLine {
        SaidLine(
            run: run, module: nil,
            text:
                "host \(host): \(dropped) line\(dropped == 1 ? "" : "s") of modules dropped: they come faster than they "
                + "can be carried")
    }
}
