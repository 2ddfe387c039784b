import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTiming
import HermesTransport
import Synchronization

/// The nodes of a run on several hosts, driven as one: the desk's by direct call, the others by messages. All of them do
/// each thing side by side; the thread that runs the frames owns the link.
public final class Fleet: NodeSession, @unchecked Sendable {
    public struct Settings: Sendable {
        /// The coordinator's own key pair.
        public var keys: CurveKeys?
        /// Seconds to wait for nodes that are not there yet.
        public var graceSeconds: Double
        public var livenessSeconds: Double
        /// Frames to grant at once; nil: as many as suits.
        public var grant: UInt64?
        /// Signals whose values of every frame are wanted here, by index in the registry.
        public var collects: @Sendable (Plan) -> [Int]
        public var moduleLine: @Sendable (_ host: String, _ module: String, _ line: String) -> Void
        public var warning: @Sendable (_ text: String) -> Void
        /// What people may like to know while the hosts come together.
        public var note: @Sendable (_ text: String) -> Void
        /// Takes note of messages for a timeline, which hosts keep then, too.
        public var trace: TraceRing?
        /// Told what each host is, as it is met.
        public var welcomed: @Sendable (_ host: String, _ welcome: Welcome) -> Void = { _, _ in }

        public init(
            keys: CurveKeys?, graceSeconds: Double, livenessSeconds: Double, grant: UInt64?,
            collects: @escaping @Sendable (Plan) -> [Int],
            moduleLine: @escaping @Sendable (String, String, String) -> Void,
            warning: @escaping @Sendable (String) -> Void, note: @escaping @Sendable (String) -> Void
        ) {
            self.keys = keys
            self.graceSeconds = graceSeconds
            self.livenessSeconds = livenessSeconds
            self.grant = grant
            self.collects = collects
            self.moduleLine = moduleLine
            self.warning = warning
            self.note = note
        }
    }

    let simulation: Simulation
    let directory: HostDirectory
    let desk: any LinkedNode
    let settings: Settings
    let alarm: Alarm
    let run = UInt64.random(in: 1 ... .max)
    let linkContext, controlContext: MessageContext
    var control: NodeControl?
    var link: RunLink?
    /// Nil when mirrors go over the link.
    var streams: MirrorStreams?
    /// What every participant of the run knows.
    var token = ""
    let isOver: Alarm
    var watching: pthread_t?
    /// Why the alarm was raised.
    let loss = Mutex<RunFailure?>(nil)
    let isAbandoned = Atomic<Bool>(false)
    let isEnding = Atomic<Bool>(false)
    let states: Mutex<[ModuleState]>
    /// What fired on other hosts.
    let errors = Mutex<[ModuleError]>([])
    /// Where the time went on other hosts, as far as they have told.
    var told: [HostTimes] = []
    /// What other hosts have told of modules that did not reach their safe state.
    var unsafe: [RunFailure] = []
    var traced: [HostTrace] = []
    /// By index, where a timeline is wanted.
    var clocks: [Int: ClockLine] = [:]
    var openHosts: Set<Int> = []
    /// Hosts whose node has begun this run.
    var begunHosts: Set<Int> = []
    var hasStaged = false
    /// Under way or completed last.
    var frame: UInt64 = 0
    var number = 0

    var plan: Plan?
    var shares: [HostShare] = []
    /// For each host the signals it sends with every done, by index in the registry.
    var collected: [[Int]] = []
    var deskSlots: [Int] = []
    var grant = Grant(fixed: nil, width: 0)
    /// The run that is waited for and the one granted behind it, taking turns.
    var runs: [GrantedRun] = []
    var oldest = 0
    var runsUnderWay = 0
    public private(set) var grantedFrame: UInt64 = 0
    /// Somebody has set values on a host, which waits for an edge that no host has been granted.
    var writesWait = false
    /// When the run before was done, CLOCK_MONOTONIC nanoseconds.
    var measuredFrom: UInt64 = 0
    public private(set) var completedFrame: UInt64 = 0
    var table = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)

    /// Orders of outsiders so far.
    let orders = Atomic<UInt64>(0)
    /// Samples that hosts have been asked for, by number.
    var awaited: [UInt64: AwaitedValues] = [:]
    /// Hosts that take values in bytes; all others in JSON.
    var takesValueBytes: Set<Int> = []
    /// What was heard between frames that ends the run.
    var heardAsleep: (any Error)?
    /// What hosts said of their threads, by index.
    var applied: [Int: RealtimeReport] = [:]
    /// Hosts that are lost or whose process of this run has ended.
    let goneHosts = Mutex<Set<Int>>([])
    let heardLines = Atomic<Int>(0)
    /// Hosts whose node has said all of this run, or is lost.
    let silentHosts = Mutex<Set<Int>>([])
    /// Of lost links, by the hosts that lost them; while one is looked into, others come.
    var reports: [RunFailure] = []
    /// The node has said what became of the lost host's process, or is lost itself.
    let isDetailed = Atomic<Bool>(false)

    /// - Parameters:
    ///   - desk: a node for the modules without a host; it has all of `alarm` that this object has.
    /// - Throws: `SystemError` or `TransportError` when threads or descriptors for messages can't be had.
    public init(_ simulation: Simulation, desk: any LinkedNode, alarm: Alarm, settings: Settings) throws {
        isOver = try Alarm()
        linkContext = try MessageContext()
        controlContext = try MessageContext()
        self.simulation = simulation
        self.desk = desk
        self.alarm = alarm
        self.settings = settings
        directory = HostDirectory(simulation)
        states = Mutex(Array(repeating: .initialising, count: simulation.modules.count))
    }

    deinit { table.deallocate() }

    // MARK: Frames

    /// 1. Grant every host the next run of frames, in one message each: one ahead of the run that is waited for, so that
    ///    nobody waits for step messages and a host that others depend on may run ahead.
    /// 2. Run the desk's part of them, one frame after the other.
    /// 3. Wait until every host has said done of the oldest run. The hosts stay in step by the values they owe each other.
    public func advance(from first: UInt64, through last: UInt64) throws {
        do {
            while grantedFrame < last && runsUnderWay < (grant.runsAhead ? 2 : 1) && !writesWait {
                try runDesk(try begin(through: last))
            }
            while !runs[oldest].isDone { try take(try word()) }
        } catch {
            if runs[oldest].count > 1 || runsUnderWay > 1 { salvage((error as? RunFailure)?.frame) }
            let whole = runs[oldest].isDone && runsUnderWay > 1 ? runs[1 - oldest].completed : 0
            completedFrame = first - 1 + runs[oldest].completed + whole
            throw error
        }
        completedFrame = runs[oldest].last
        let now = monotonicNow()
        grant.took(now - measuredFrom, frames: runs[oldest].count)
        measuredFrom = now
        runsUnderWay -= 1
        if runsUnderWay > 0 { oldest = 1 - oldest } else { writesWait = false }
    }

    /// Grants the run behind the one under way.
    /// - Returns: its place in `runs`.
    func begin(through last: UInt64) throws -> Int {
        let isFresh = runsUnderWay == 0, place = isFresh ? oldest : 1 - oldest
        let first = grantedFrame + 1, count = min(grant.frames, last - grantedFrame)
        if isFresh { measuredFrom = monotonicNow() }
        runs[place].begin(first, count)
        runsUnderWay += 1
        grantedFrame = first + count - 1
        let header = FrameHeader(
            .step, run: run, epoch: desk.epoch, frame: first, phase: isFresh ? 0 : FrameHeader.held, count: Int(count))
        for host in 1..<directory.count {
            try linked(host) { try link!.send(header, to: host) }
            note(.stepMessage, host, frame: first, count: Int(count))
        }
        return place
    }

    func runDesk(_ place: Int) throws {
        let first = runs[place].first, isFresh = runsUnderWay == 1
        for index in 0..<runs[place].count {
            frame = first + index
            try onDesk { try desk.step(frame: frame, appliesWrites: isFresh && index == 0) }
            runs[place].take(host: 0, from: desk.slots, at: deskSlots)
        }
        if desk.hasWritesWaiting { writesWait = true }
    }

    /// Values of the frames that a host has completed; any other word says that it failed.
    func take(_ word: (peer: Int, header: FrameHeader, payload: UnsafeRawBufferPointer)) throws {
        let (host, header, values) = word
        if header.kind == .values { return take(values: header, from: host, values) }
        if let message = try message(word) { return try hear(unawaited: message, from: host) }
        if header.epoch < desk.epoch { return }
        guard !runs.isEmpty else {
            throw RunFailure(
                .protocolError, host: directory.name(host), cause: "said done before it was asked for a frame")
        }
        let count = Int(header.count), first = header.frame &+ 1 &- UInt64(count)
        // One that completed none of a run says so with the frame before it.
        guard header.epoch == desk.epoch,
            let place = [oldest, 1 - oldest].first(where: { runs[$0].count > 0 && runs[$0].first == first }),
            runs[place].take(host: host, count: count, values)
        else {
            throw RunFailure(
                .protocolError, host: directory.name(host), frame: runs[oldest].first,
                cause: "said done for \(header.count) frames up to \(header.frame), epoch \(header.epoch)")
        }
        if header.phase == FrameHeader.held { writesWait = true }
        note(.doneMessage, host, frame: header.frame, count: count)
    }

    /// Within a grant something failed in a frame. The other hosts have all they need for the frames before it, and say what
    /// they have completed when they get no further; then, or after a moment, they are asked to end where they are.
    func salvage(_ failedFrame: UInt64?) {
        var waited = openHosts.subtracting(goneHosts.withLock { $0 })
        if let failedFrame {
            listen(to: &waited, seconds: Self.catchingUpSeconds) { self.completed(by: $0) + 1 >= failedFrame }
        }
        waited = openHosts.subtracting(goneHosts.withLock { $0 })
        for host in waited {
            dismiss(host)
            control?.tell(host - 1, "end", EndRun(run: run))
        }
        listen(to: &waited, seconds: 1) { _ in false }
    }
    /// Seconds in which hosts that are behind one that failed get to the same frame.
    static let catchingUpSeconds = 0.25

    /// Takes what hosts say until each has said its last or is far enough.
    func listen(to waited: inout Set<Int>, seconds: Double, isFarEnough: (Int) -> Bool) {
        let limit = deadline(after: seconds)
        while monotonicNow() < limit {
            waited.subtract(goneHosts.withLock { $0 })
            waited = waited.filter { !isFarEnough($0) }
            if waited.isEmpty { return }
            guard let word = try? link?.nextWord(until: monotonicNow() + 10_000_000, heedsAlarm: false) else {
                continue
            }
            if word.header.kind == .done {
                try? take(word)
                continue
            }
            guard let message = ControlMessage(word.payload), !take(note: message, from: word.peer) else { continue }
            if message.say == "failed" || message.say == "ok" {
                waited.remove(word.peer)
                openHosts.remove(word.peer)
            }
        }
    }

    /// The last frame that a host has said done of, among those under way.
    func completed(by host: Int) -> UInt64 {
        let frames = runs[oldest].done[host]
        let more = frames == runs[oldest].count && runsUnderWay > 1 ? runs[1 - oldest].done[host] : 0
        return runs[oldest].first - 1 + frames + more
    }

    /// Tells a host to end its modules, also one that has failed: it waits for that before it closes its links.
    func dismiss(_ host: Int, hurried: Bool = true) {
        let order = Terminate(hurried: hurried, wantsTimes: true)
        guard let message = try? ControlMessage("terminate", id: number, order) else { return }
        try? link?.send(message, to: host, epoch: desk.epoch, urgent: true)
    }

    public func recall(_ frame: UInt64) {
        let place = runs[0].contains(frame) ? 0 : 1
        for host in collected.indices { runs[place].copy(frame, host: host, to: table, at: collected[host]) }
    }

    public func reset() throws {
        beginEpoch()
        for host in 1..<directory.count { try say("reset", ControlMessage.Nothing(), to: host) }
        try onDesk { try desk.reset() }
        try awaitStart()
    }

    func beginEpoch() {
        (oldest, runsUnderWay) = (0, 0)
        runs[0].begin(0, 1)
        runs[1].begin(0, 0)
        (frame, grantedFrame, writesWait) = (0, 0, false)
    }

    /// Waits until every host has said that it is at frame 0.
    func awaitStart() throws {
        runs[0].take(host: 0, from: desk.slots, at: deskSlots)
        while !runs[0].isDone { try take(try word()) }
        recall(0)
        completedFrame = 0
    }

    public func atEdge() throws {
        if let failure = heardAsleep { throw failure }
        try desk.atEdge()
        // Between frames nobody else listens to what other hosts say.
        while let link, let word = try linked(0, { try link.nextWord(until: monotonicNow(), heedsAlarm: false) }) {
            try take(word)
        }
        if alarm.isRaised { throw alarmFailure(.alarm) }
    }

    /// Of this host: the others look at theirs in each frame.
    public func conclude() throws { try desk.conclude() }

    public var slots: UnsafePointer<UInt64> { UnsafePointer(table) }
    public var epoch: UInt32 { desk.epoch }
    public var attention: UInt32 { desk.attention }
    public func raiseAttention() { desk.raiseAttention() }

    public func abandon() {
        isAbandoned.store(true, ordering: .relaxed)
        control?.abandon()
        desk.abandon()
        alarm.raise()
    }

    public func show(_ state: SegmentPhase) {
        for host in openHosts { try? say("show", ShowState(isPaused: state == .paused), to: host) }
        desk.show(state)
        setStates(state == .running ? .running : .paused)
    }

    public var moduleStates: [(name: String, state: ModuleState)] {
        let own = Dictionary(
            desk.moduleStates.map { ($0.name.bytes, $0.state) }, uniquingKeysWith: { first, _ in first })
        let all = states.withLock { $0 }
        return zip(simulation.modules, all).map { module, state in (module.name, own[module.name.bytes] ?? state) }
    }

    func setStates(_ state: ModuleState) {
        states.withLock { states in
            for index in states.indices where states[index] != .error && (states[index] != .held || state == .done) {
                states[index] = state
            }
        }
    }

    /// In the order in which they came to be known here; those of one host in the order in which they fired.
    public var moduleErrors: [ModuleError] { desk.moduleErrors + errors.withLock { $0 } }
}
