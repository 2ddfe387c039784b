import HermesBackplane
import HermesPlan
import HermesProtocol
import HermesTransport

/// Why a frame did not complete.
enum FrameFault: Error {
    /// A step failed, or a module is gone: the records tell which.
    case loss
    case inproc(module: Int, status: Int32)
    case timedOut(module: Int, seconds: Double)
    /// Values of other hosts did not come.
    case link(LinkFault)
}

/// Runs one host's share of a frame.
struct FrameExecutor {
    let segment: Segment
    /// For each phase, the modules that run inside the node, with how often they step.
    let work: [[(index: Int, divisor: UInt64, module: InprocModule)]]
    /// Nil on the only host.
    let mirror: SignalMirror?
    let owed: () -> [(module: Int, since: UInt64)]
    let warn: (_ module: Int, _ frame: UInt64) -> Void
    var watch: StepWatch

    /// One frame:
    /// 1. Release the first phase. From here the modules go on by themselves: the last one of a phase delivers its
    ///    wires and releases the next phase (Sources/CHermes/barrier.c).
    /// 2. Where a phase has modules inside the node, run them; the node then counts as one more module of that phase.
    /// 3. Where a phase exchanges values with other hosts, send them once its modules are done and wait for theirs; then
    ///    its wires are delivered and the next phase is released.
    /// 4. Sleep until the frame is complete, something failed, or somebody takes too long.
    mutating func run(frame: UInt64) throws(FrameFault) {
        segment.beginFrame(frame)
        var deadline = watch.firstLook(now: monotonicNow())
        while true {
            switch segment.waitForFrame(until: deadline) {
            case .complete:
                return
            case .work(let phase):
                for (index, divisor, module) in work[phase] where divisor == 1 || (frame - 1) % divisor == 0 {
                    let status = module.step()
                    guard status == 0 else { throw .inproc(module: index, status: status) }
                }
                segment.finishWork(phase: phase)
            case .exchange(let phase):
                do throws(LinkFault) {
                    try mirror!.exchange(phase: phase, frame: frame, epoch: segment.epoch)
                } catch {
                    throw .link(error)
                }
                segment.finishExchange(phase: phase)
            case .fault:
                throw .loss
            case .deadline:
                let verdict = watch.look(now: monotonicNow(), frame: frame, owed: owed()) { warn($0, frame) }
                switch verdict {
                case .wait(let next): deadline = next
                case .timedOut(let module, let seconds): throw .timedOut(module: module, seconds: seconds)
                }
            }
        }
    }
}
