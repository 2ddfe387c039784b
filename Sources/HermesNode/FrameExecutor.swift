import HermesBackplane
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport

/// Why a frame did not complete.
enum FrameFault: Error {
    /// A step failed, or a module is gone: the records tell which.
    case loss
    case inproc(module: Int, status: Int32)
    case timedOut(module: Int, seconds: Double)
    /// Something wrote over the segment. The module is one that has not made its step of the frame though the segment says so.
    case broken(module: Int?)
    /// Values of other hosts did not come.
    case link(LinkFault)
    /// A module failed that was to be held or started again, and it could not be.
    case failed(RunFailure)
}

/// Runs one host's share of a frame.
struct FrameExecutor {
    /// What is done about modules whose failure does not end the run.
    struct Guards {
        /// Looks at who has answered and who is gone; true when it is to be called again soon.
        let look: (_ frame: UInt64) throws -> Bool
        /// Deals with a fault of one of them; false when it is none of theirs.
        let endures: (_ fault: FrameFault, _ frame: UInt64) throws -> Bool
        /// All of them that are due have answered.
        let areComplete: () -> Bool
    }

    let segment: Segment
    /// For each phase, the modules that run inside the node, with how often they step.
    var work: [[(index: Int, divisor: UInt64, module: InprocModule)]]
    /// Nil on the only host.
    var mirror: SignalMirror?
    /// Who has been released for the frame and has not answered, by what this host knows, and since when, at least `began`.
    let owed: (_ began: UInt64) -> [(module: Int, since: UInt64)]
    /// Nil where every failure ends the run.
    let guards: Guards?
    let warn: (_ module: Int, _ frame: UInt64) -> Void
    var watch: StepWatch
    let times: FrameTimes

    /// One frame:
    /// 1. Release the first phase. From here the modules go on by themselves: the last one of a phase delivers its
    ///    wires and releases the next phase (Sources/CHermes/barrier.c).
    /// 2. Where a phase has modules inside the node, run them; the node then counts as one more module of that phase.
    /// 3. Where a phase exchanges values with other hosts, send them once its modules are done and wait for theirs; then
    ///    its wires are delivered and the next phase is released.
    /// 4. Where a guarded module has made its step or is gone, look at it; the node counts it out of its phase.
    /// 5. Sleep until the frame is complete, something failed, or somebody takes too long.
    /// 6. Hold the complete frame against what this host knows of it: modules can write over all that the segment says.
    mutating func run(frame: UInt64) throws(FrameFault) {
        let began = monotonicNow()
        times.begin(frame, at: began)
        segment.beginFrame(frame)
        var deadline = min(watch.firstLook(now: began), began + Self.longestSleep)
        while true {
            switch segment.waitForFrame(until: deadline) {
            case .complete:
                times.completed(at: monotonicNow())
                return try hold(segment.verify())
            case .work(let phase):
                // The end of one step is the begin of the next: one look at the clock a module.
                var begin = monotonicNow()
                for (index, divisor, module) in work[phase] where divisor == 1 || (frame - 1) % divisor == 0 {
                    let status = module.step(), end = monotonicNow()
                    segment.stamp(module: index, begin: begin, end: end)
                    begin = end
                    guard status != 0 else { continue }
                    try endure(.inproc(module: index, status: status), frame)
                    work[phase].removeAll { $0.index == index }
                }
                segment.finishWork(phase: phase)
            case .exchange(let phase):
                let begin = monotonicNow()
                do throws(LinkFault) {
                    try mirror!.exchange(phase: phase, frame: frame, epoch: segment.epoch)
                } catch {
                    throw .link(error)
                }
                times.exchanged(phase: phase, from: begin, to: monotonicNow())
                segment.finishExchange(phase: phase)
            case .guarded:
                if try look(frame) { deadline = min(deadline, monotonicNow() + Self.soon) }
            case .fault:
                throw .loss
            case .broken:
                throw .broken(module: nil)
            case .deadline:
                let now = monotonicNow(), owed = owed(began)
                if segment.damage != nil || watch.isStuck(frame: frame, isOwed: !owed.isEmpty) {
                    throw .broken(module: nil)
                }
                // Who sleeps where the segment says that nobody does has not been woken.
                for (module, _) in owed { segment.rouse(module: module) }
                let verdict = watch.look(now: now, frame: frame, owed: owed) { warn($0, frame) }
                switch verdict {
                case .wait(let next): deadline = min(next, now + (owed.isEmpty ? StepWatch.idle : Self.longestSleep))
                case .timedOut(let module, let seconds):
                    try endure(.timedOut(module: module, seconds: seconds), frame)
                }
                if try look(frame) { deadline = min(deadline, monotonicNow() + Self.soon) }
            }
        }
    }

    /// Nanoseconds: what should end a sleep may be written over.
    private static let longestSleep: UInt64 = 1_000_000_000

    @inline(__always) private func hold(_ verdict: Segment.Verdict) throws(FrameFault) {
        switch verdict {
        case .sound: if let guards, !guards.areComplete() { throw .broken(module: nil) }
        case .missing(let module): throw .broken(module: module)
        case .broken: throw .broken(module: nil)
        }
    }

    /// Nanoseconds until a look at somebody who is gone and can't call for it.
    private static let soon: UInt64 = 1_000_000

    private func look(_ frame: UInt64) throws(FrameFault) -> Bool {
        guard let guards else { return false }
        return try failing { try guards.look(frame) }
    }

    /// - Throws: the fault itself when it ends the run.
    private func endure(_ fault: FrameFault, _ frame: UInt64) throws(FrameFault) {
        guard let guards, try failing({ try guards.endures(fault, frame) }) else { throw fault }
    }

    private func failing(_ body: () throws -> Bool) throws(FrameFault) -> Bool {
        do {
            return try body()
        } catch {
            throw .failed(error as? RunFailure ?? RunFailure(.protocolError, cause: "\(error)"))
        }
    }
}
