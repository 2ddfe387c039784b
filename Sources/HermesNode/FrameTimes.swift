import HermesBackplane
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming

/// Where the time of this host's frames goes. Modules stamp their steps in the segment, the executor says when a frame began
/// and ended and how long it exchanged values; once a frame is complete its times go into histograms. Always on: memory is
/// taken once, and a frame costs two looks at the clock and some ten nanoseconds a module.
///
/// Only the thread that runs the frames records.
final class FrameTimes {
    private struct ModuleRecord {
        var execute = DurationRecorder(), start = DurationRecorder()
        var wait: UInt64 = 0
        /// Of its step in the frame looked at, 0 for none.
        var end: UInt64 = 0
    }
    private struct PeerRecord {
        var wait: UInt64 = 0, longest: UInt64 = 0
    }
    private struct Detail {
        var epoch: UInt32
        var frame, network, step: UInt64
        var module: Int
        var patience: UInt64
        var peer: Int
    }

    private let segment: Segment
    private let names: [String]
    /// By participant; the desk is the first.
    private let hosts: [String?]
    private let isInproc: [Bool]
    /// Modules of each phase that step, by index.
    private let phases: [[Int]]
    private let modules: UnsafeMutableBufferPointer<ModuleRecord>
    private let peers: UnsafeMutableBufferPointer<PeerRecord>
    private var frame = DurationRecorder(), execute = DurationRecorder(), network = DurationRecorder()
    private var wait = DurationRecorder()
    private var slowest = SlowestFrames<Detail>()
    /// When the frame under way was to begin, CLOCK_MONOTONIC nanoseconds; 0: as soon as it could.
    var due: UInt64 = 0
    /// Nanoseconds that the frame under way has spent in exchange with other hosts, and the longest wait among them.
    private var exchanged: UInt64 = 0
    private var patience: UInt64 = 0
    private var slowestPeer = -1
    /// CLOCK_MONOTONIC nanoseconds; 0 while no frame is under way.
    private var began: UInt64 = 0
    private var number: UInt64 = 0
    /// Nil where nobody wants a timeline.
    let trace: TraceRing?

    init(_ plan: Plan, _ segment: Segment, trace: TraceRing?) {
        self.segment = segment
        self.trace = trace
        names = plan.modules.map(\.name)
        hosts = plan.hosts
        isInproc = plan.modules.map(\.isInproc)
        phases = plan.phases.map { members in members.filter { !plan.modules[$0].isFree } }
        modules = .allocate(capacity: plan.modules.count)
        for index in modules.indices { modules.initializeElement(at: index, to: ModuleRecord()) }
        peers = .allocate(capacity: plan.hosts.count)
        peers.initialize(repeating: PeerRecord())
    }

    deinit {
        modules.deinitialize()
        modules.deallocate()
        peers.deinitialize()
        peers.deallocate()
    }

    // MARK: While a frame is under way

    /// Values of a peer have come, that were waited for from `began` to `ended`.
    func heard(_ peer: Int, phase: Int, from began: UInt64, to ended: UInt64) {
        guard self.began != 0 else { return }
        let nanoseconds = ended - began
        add(.mirror, began, ended, subject: peer, detail: phase)
        peers[peer].wait &+= nanoseconds
        if nanoseconds > peers[peer].longest { peers[peer].longest = nanoseconds }
        if nanoseconds > patience { (patience, slowestPeer) = (nanoseconds, peer) }
    }

    /// An exchange with other hosts is over.
    func exchanged(phase: Int, from began: UInt64, to ended: UInt64) {
        exchanged &+= ended - began
        add(.exchange, began, ended, detail: phase)
    }

    /// A frame begins: nothing of one that did not complete counts.
    func begin(_ number: UInt64, at began: UInt64) {
        (self.number, self.began) = (number, began)
        (exchanged, patience, slowestPeer) = (0, 0, -1)
    }

    @inline(__always) private func add(
        _ kind: TraceEvent.Kind, _ begin: UInt64, _ end: UInt64, subject: Int = 0, detail: Int = 0
    ) {
        guard let trace else { return }
        trace.add(
            TraceEvent(
                kind, begin: begin, end: end, frame: number, epoch: segment.epoch, subject: subject, detail: detail))
    }

    // MARK: When it is over

    /// The frame is complete.
    /// - Parameter ended: when the node knew that all was done.
    func completed(at ended: UInt64) {
        var executed: UInt64 = 0, longest: UInt64 = 0, culprit = -1
        for (phase, members) in phases.enumerated() {
            let released = segment.releaseTime(ofPhase: phase)
            guard released >= began, released <= ended else { continue }
            let due = due == 0 ? released : due
            // Processes step side by side, modules inside the node one after the other.
            var beside: UInt64 = 0, inside: UInt64 = 0, last: UInt64 = 0
            for index in members {
                let (begin, end) = segment.stepTimes(ofModule: index)
                // The stamps are the modules' own: what can't be is left out.
                guard begin >= released, end >= begin, end <= ended else {
                    modules[index].end = 0
                    continue
                }
                let step = end - begin
                modules[index].execute.record(step)
                modules[index].start.record(begin > due ? begin - due : 0)
                modules[index].end = end
                add(.step, begin, end, subject: index)
                if isInproc[index] { inside += step } else if step > beside { beside = step }
                if end > last { last = end }
                if step > longest || culprit < 0 { (longest, culprit) = (step, index) }
            }
            for index in members where modules[index].end != 0 && modules[index].end < last {
                modules[index].wait &+= last - modules[index].end
                add(.wait, modules[index].end, last, subject: index)
            }
            executed += max(beside, inside)
        }
        let time = ended - began, known = executed + exchanged
        frame.record(time)
        execute.record(executed)
        if hosts.count > 1 { network.record(exchanged) }
        wait.record(time > known ? time - known : 0)
        add(.frame, began, ended)
        began = 0
        guard time > slowest.bound else { return }
        slowest.keep(
            time,
            Detail(
                epoch: segment.epoch, frame: number, network: exchanged, step: longest, module: culprit,
                patience: patience, peer: slowestPeer))
    }

    /// The frame under way will not complete. What is known of it goes into the timeline alone: steps that ended, and those
    /// that never did.
    func broke() {
        guard began != 0, trace != nil else { return }
        let now = monotonicNow()
        for (phase, members) in phases.enumerated() {
            let released = segment.releaseTime(ofPhase: phase)
            guard released >= began else { continue }
            for index in members {
                let (begin, end) = segment.stepTimes(ofModule: index)
                guard begin >= released, begin <= now else { continue }
                let hasEnded = end >= begin && end <= now
                add(.step, begin, hasEnded ? end : now, subject: index, detail: hasEnded ? 0 : 1)
            }
        }
        add(.frame, began, now)
        began = 0
    }

    /// A message of the coordinator came, or one went to it.
    func message(_ kind: TraceEvent.Kind, frame: UInt64, count: Int) {
        guard let trace else { return }
        let now = monotonicNow()
        trace.add(TraceEvent(kind, begin: now, end: now, frame: frame, epoch: segment.epoch, detail: count))
    }

    // MARK: In the end

    /// Nil where nobody wants a timeline.
    func timeline(host: String) -> HostTrace? {
        trace.map {
            HostTrace(
                host: host, modules: names, participants: hosts.map { $0 ?? "desk" }, $0.events, lost: $0.lost)
        }
    }

    /// - Parameter host: what people call this host.
    func report(host: String) -> HostTimes {
        let stepping = phases.joined().sorted()
        return HostTimes(
            host: host, frame: frame.durations, execute: execute.durations, network: network.durations,
            wait: wait.durations,
            modules: stepping.map { index in
                HostTimes.Module(
                    name: names[index], execute: modules[index].execute.durations,
                    start: modules[index].start.durations, wait: modules[index].wait)
            },
            peers: peers.indices.filter { peers[$0].longest > 0 }.map {
                HostTimes.Peer(host: name(ofHost: $0), wait: peers[$0].wait, longest: peers[$0].longest)
            },
            slowest: slowest.sorted.map { time, detail in
                SlowFrame(
                    epoch: detail.epoch, frame: detail.frame, time: time, network: detail.network, step: detail.step,
                    module: detail.module < 0 ? nil : names[detail.module], patience: detail.patience,
                    peer: detail.peer < 0 ? nil : name(ofHost: detail.peer))
            })
    }

    private func name(ofHost index: Int) -> String { hosts[index] ?? "desk" }
}
