import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
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

    private let simulation: Simulation
    private let directory: HostDirectory
    private let desk: any LinkedNode
    private let settings: Settings
    private let alarm: Alarm
    private let run = UInt64.random(in: 1 ... .max)
    private let linkContext = MessageContext(), controlContext = MessageContext()
    private var control: NodeControl?
    private var link: RunLink?
    /// Nil when mirrors go over the link.
    private var streams: MirrorStreams?
    /// What every participant of the run knows.
    private var token = ""
    private let isOver = Alarm()
    private var watching: pthread_t?
    /// Why the alarm was raised.
    private let loss = Mutex<RunFailure?>(nil)
    private let isAbandoned = Atomic<Bool>(false)
    private let isEnding = Atomic<Bool>(false)
    private let states: Mutex<[ModuleState]>
    /// What fired on other hosts.
    private let errors = Mutex<[ModuleError]>([])
    /// Where the time went on other hosts, as far as they have told.
    private var told: [HostTimes] = []
    private var traced: [HostTrace] = []
    /// By index, where a timeline is wanted.
    private var clocks: [Int: ClockLine] = [:]
    private var openHosts: Set<Int> = []
    /// Hosts whose node has begun this run.
    private var begunHosts: Set<Int> = []
    private var hasStaged = false
    /// Under way or completed last.
    private var frame: UInt64 = 0
    private var number = 0

    private var plan: Plan?
    private var shares: [HostShare] = []
    /// For each host the signals it sends with every done, by index in the registry.
    private var collected: [[Int]] = []
    private var deskSlots: [Int] = []
    private var grant = Grant(fixed: nil, width: 0)
    /// The run that is waited for and the one granted behind it, taking turns.
    private var runs: [GrantedRun] = []
    private var oldest = 0
    private var runsUnderWay = 0
    public private(set) var grantedFrame: UInt64 = 0
    /// Somebody has set values on a host, which waits for an edge that no host has been granted.
    private var writesWait = false
    /// When the run before was done, CLOCK_MONOTONIC nanoseconds.
    private var measuredFrom: UInt64 = 0
    public private(set) var completedFrame: UInt64 = 0
    private var table = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)

    /// - Parameters:
    ///   - desk: a node for the modules without a host; it has all of `alarm` that this object has.
    public init(_ simulation: Simulation, desk: any LinkedNode, alarm: Alarm, settings: Settings) {
        self.simulation = simulation
        self.desk = desk
        self.alarm = alarm
        self.settings = settings
        directory = HostDirectory(simulation)
        states = Mutex(Array(repeating: .initialising, count: simulation.modules.count))
    }

    deinit { table.deallocate() }

    // MARK: Start

    public func launch() throws -> [Announcement] {
        let wrong = directory.unreachable()
        if !wrong.isEmpty { throw ConfigurationError(wrong) }
        try meet()
        let files = StaleFiles(simulation, directory.hosts, control!)
        let opened = try openRuns()
        try setUp(opened)
        files.report(settings.warning)
        return try launchModules()
    }

    private func meet() throws {
        let nodes = directory.hosts.map { NodeControl.Node(name: $0.name, endpoint: $0.endpoint, publicKey: $0.key) }
        if settings.keys == nil, let host = directory.hosts.first(where: { $0.key != nil }) {
            throw RunFailure(
                .refused, host: host.name,
                cause: "has a key, so this side needs one: --key FILE, made by `hermes keygen`")
        }
        let control = try NodeControl(
            controlContext, nodes, keys: settings.keys, livenessSeconds: settings.livenessSeconds,
            onUnasked: { [weak self] in self?.hear($1, from: $0 + 1) },
            onLost: { [weak self] in self?.lose($0 + 1, "lost its node", isNode: true) })
        self.control = control
        let limit = deadline(after: settings.graceSeconds)
        let hellos = try nodes.indices.map { try control.ask($0, "hello", Hello(version: hermesVersion)) }
        let asked = ThisMachineClock.now
        for (index, hello) in hellos.enumerated() {
            guard let welcome = try answer(hello, host: index + 1, until: limit).body(Welcome.self) else {
                throw RunFailure(.protocolError, host: directory.name(index + 1), cause: "its welcome can't be read")
            }
            try check(welcome, host: index + 1, asked: asked)
            settings.welcomed(directory.name(index + 1), welcome)
        }
    }

    private func check(_ welcome: Welcome, host: Int, asked: Int) throws {
        let name = directory.name(host)
        guard welcome.oldestProtocol <= protocolVersion, oldestProtocolVersion <= welcome.protocolVersion else {
            throw RunFailure(
                .refused, host: name,
                cause:
                    "runs hermes-node \(welcome.version), which does not understand this version \(hermesVersion); install "
                    + "the same on both")
        }
        if welcome.version != hermesVersion {
            settings.note(
                "host \(name) runs hermes-node \(welcome.version), this is \(hermesVersion); they understand each other"
            )
        }
        let offset = Double(welcome.clockNanoseconds - asked) / 1e9
        if abs(offset) > 5 + settings.graceSeconds {
            settings.warning(
                "the clock of host \(name) differs by about \(Int(offset.rounded())) s; times in its logs don't match those here"
            )
        }
    }

    /// One port a host, and the keys of this run.
    private func openRuns() throws -> [OpenedRun] {
        var securities = (0..<directory.count).map { _ in LinkSecurity(token: "") }
        let token = (0..<4).map { _ in String(UInt32.random(in: 0 ... .max), radix: 36) }.joined()
        let padded = token + String(repeating: "0", count: max(0, 24 - token.utf8.count))
        self.token = padded
        if settings.keys != nil {
            let keys = (0..<directory.count).map { _ in CurveKeys.generate() }
            for index in securities.indices {
                securities[index] = LinkSecurity(
                    token: padded, publicKey: keys[index].publicKey, secretKey: keys[index].secretKey,
                    participants: keys.map(\.publicKey))
            }
        } else {
            for index in securities.indices { securities[index].token = padded }
        }
        let link = try RunLink(
            linkContext, run: run, index: 0, participants: directory.count, security: securities[0],
            livenessSeconds: settings.livenessSeconds, alarm: alarm)
        self.link = link
        let watched = UncheckedReference(link), fleet = UncheckedReference(self)
        watching = startThread {
            watched.value.watchConnections(stop: fleet.value.isOver) {
                fleet.value.lose($0, "lost its link to the desk", isNode: false)
            }
        }
        let questions = try directory.hosts.enumerated().map { index, host in
            openHosts.insert(index + 1)
            return try control!.ask(
                index, "open",
                OpenRun(
                    simulation: simulation.name, host: host.name, index: index + 1, participants: directory.count,
                    run: run,
                    security: securities[index + 1], mirrorAddress: host.mirror,
                    livenessSeconds: settings.livenessSeconds, wantsStreams: simulation.execution.mirrors != .zeromq))
        }
        let limit = deadline(after: 15)
        return try questions.enumerated().map { index, question in
            guard let opened = try answer(question, host: index + 1, until: limit).body(OpenedRun.self) else {
                throw RunFailure(
                    .protocolError, host: directory.name(index + 1), cause: "its answer to open can't be read")
            }
            begunHosts.insert(index + 1)
            return opened
        }
    }

    private func setUp(_ opened: [OpenedRun]) throws {
        let link = link!
        for (index, host) in directory.hosts.enumerated() {
            try linked(index + 1) {
                try link.dial(
                    peer: index + 1,
                    at: HostDirectory.endpoint(host.endpoint, port: opened[index].port, path: opened[index].path))
            }
        }
        let indices = Array(1..<directory.count)
        let missing = try linked(0) { try link.prove(indices, dialled: indices, until: deadline(after: 5)) }
        if let host = missing.first {
            throw RunFailure(
                .lost, host: directory.name(host),
                cause:
                    "answers at \(directory.hosts[host - 1].endpoint) but not on port \(opened[host - 1].port ?? 0), where the "
                    + "run listens; let firewalls pass the range of hermes-node's --ports")
        }
        var peers = Array(repeating: [SetUp.Peer](), count: directory.count)
        for pair in directory.pairs where pair.first > 0 {
            let first = directory.hosts[pair.first - 1]
            let endpoint = HostDirectory.endpoint(
                first.mirror ?? first.endpoint, port: opened[pair.first - 1].port, path: opened[pair.first - 1].path)
            peers[pair.second].append(SetUp.Peer(index: pair.first, host: first.name, endpoint: endpoint))
            peers[pair.first].append(SetUp.Peer(index: pair.second, host: directory.name(pair.second), endpoint: nil))
        }
        let roads = try streamRoads(opened)
        for host in 1..<directory.count {
            try say("setup", SetUp(peers: peers[host], streams: roads?[host]), to: host)
        }
        if let roads { try meetStreams(roads[0]) }
        try awaitAll("ok") { _, _ in }
    }

    /// For each host the streams it has, nil when mirrors go over the links of the run.
    private func streamRoads(_ opened: [OpenedRun]) throws -> [[SetUp.Stream]]? {
        guard simulation.execution.mirrors != .zeromq else { return nil }
        if let host = directory.hosts.indices.first(where: { opened[$0].streams == nil }) {
            // An older node has none.
            if simulation.execution.mirrors == .auto { return nil }
            throw RunFailure(
                .refused, host: directory.hosts[host].name,
                cause: "offers no mirror streams; upgrade its hermes-node or leave out `mirrors: tcp`")
        }
        let map = StreamMap(
            directory, opened, isSealed: settings.keys != nil, isTCPOnly: simulation.execution.mirrors == .tcp)
        return map.streams
    }

    private func meetStreams(_ wanted: [SetUp.Stream]) throws {
        let streams = MirrorStreams(run: run, index: 0, participants: directory.count, alarm: alarm)
        self.streams = streams
        let peers = wanted.map {
            StreamPeer(
                index: $0.index, endpoint: $0.endpoint, path: $0.path, sendKey: $0.sendKey, receiveKey: $0.receiveKey)
        }
        let meeting = StreamMeeting(
            run: run, index: 0, token: token, alarm: alarm, refused: { _ in })
        let missing = try linked(0) {
            try meeting.meet(peers, through: StreamDoor(), into: streams, until: deadline(after: 8))
        }
        guard let host = missing.first, let stream = wanted.first(where: { $0.index == host }) else { return }
        // What the host itself has to say comes first.
        if let failure = try hostFailure() { throw failure }
        throw RunFailure(
            .lost, host: directory.name(host),
            cause:
                "is not reached for mirrors at \(stream.endpoint ?? stream.path ?? "its socket"); let firewalls pass the "
                + "whole range of hermes-node's --ports, or use --mirrors zeromq")
    }

    private func launchModules() throws -> [Announcement] {
        for host in 1..<directory.count {
            let items = simulation.modules.filter { $0.host == directory.name(host) }.map { module in
                LaunchModules.Item(
                    name: module.name, kind: module.kind.rawValue, program: module.program, arguments: module.arguments,
                    environment: module.environment.flatMap { [$0.name, $0.value] },
                    workingDirectory: module.workingDirectory, configuration: module.configuration,
                    stepTimeoutSeconds: module.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds,
                    onError: (module.onError ?? simulation.execution.onModuleError).rawValue)
            }
            let launch = LaunchModules(
                modules: items, restartLimit: simulation.execution.restartLimit,
                realtime: RealtimeOrder(simulation, host: directory.name(host)))
            try say("launch", launch, to: host)
        }
        var announced: [String: Announcement] = [:]
        let own = try desk.launch()
        for (module, announcement) in zip(simulation.modules.filter({ $0.host == nil }), own) {
            announced[module.name] = announcement
        }
        try awaitAll("announced") { host, message in
            guard let body = message.body(Announced.self) else { return }
            let modules = self.simulation.modules.filter { $0.host == self.directory.name(host) }
            for (module, announcement) in zip(modules, body.announcements) { announced[module.name] = announcement }
        }
        return try simulation.modules.map { module in
            guard let announcement = announced[module.name] else {
                throw RunFailure(.protocolError, module: module.name, host: module.host, cause: "has not announced")
            }
            return announcement
        }
    }

    public func prepare(_ plan: Plan) throws {
        self.plan = plan
        shares = plan.shares()
        let wanted = settings.collects(plan)
        collected = plan.hosts.indices.map { host in
            wanted.filter { plan.modules[plan.registry.signals[$0].module].host == host }
        }
        deskSlots = collected[0].map { localSlot($0, of: 0) }
        grant = Grant(fixed: settings.grant, width: collected.map(\.count).max() ?? 0)
        runs = Array(repeating: GrantedRun(widths: collected.map(\.count)), count: 2)
        table.deallocate()
        table = .allocate(capacity: max(plan.registry.signals.count, 1))
        table.initialize(repeating: 0, count: max(plan.registry.signals.count, 1))
        for host in 1..<directory.count {
            let local = Dictionary(
                shares[host].slots.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
            var message = ShareMessage(
                shares[host], collected: collected[host].compactMap { local[$0] },
                longestStepSeconds: longestStepSeconds)
            if settings.trace != nil { message.wantsTrace = true }
            try say("prepare", message, to: host)
        }
        try linked(0) { try streams?.reserve(shares[0]) }
        try desk.prepare(shares[0], mirrors: streams ?? link, longestStepSeconds: longestStepSeconds)
        try awaitAll("ok") { _, _ in }
    }

    public func stage(overrides: [(slot: Int, bits: UInt64)]) throws {
        beginEpoch()
        for host in 1..<directory.count {
            let mine = Self.localise(overrides, shares[host])
            try say("stage", StartValues(slots: mine.map(\.slot), bits: mine.map(\.bits)), to: host)
        }
        try onDesk { try desk.stage(overrides: Self.localise(overrides, shares[0])) }
        try awaitStart()
        hasStaged = true
        setStates(.staged)
        measureClocks()
    }

    /// The hosts have done so by themselves, before they said done of frame 0.
    public func keepTime() -> RealtimeReport {
        var report = desk.keepTime()
        for host in 1..<directory.count {
            let name = directory.name(host)
            if let theirs = applied[host] {
                report.threads += theirs.threads
                report.cautions += theirs.cautions
            } else if let order = RealtimeOrder(simulation, host: name), !order.isEmpty {
                report.threads.append(
                    RealtimeThread(
                        host: name, module: nil, role: "frames", asked: order.frames, found: nil,
                        refused: ["does not know of priorities and CPUs; install this version's hermes-node there"]))
            }
        }
        return report
    }
    /// What hosts said of their threads, by index.
    private var applied: [Int: RealtimeReport] = [:]

    private static func localise(_ values: [(slot: Int, bits: UInt64)], _ share: HostShare) -> [(
        slot: Int, bits: UInt64
    )] {
        let local = Dictionary(share.slots.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        return values.compactMap { slot, bits in local[slot].map { (slot: $0, bits: bits) } }
    }

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
    private func begin(through last: UInt64) throws -> Int {
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

    private func runDesk(_ place: Int) throws {
        let first = runs[place].first, isFresh = runsUnderWay == 1
        for index in 0..<runs[place].count {
            frame = first + index
            try onDesk { try desk.step(frame: frame, appliesWrites: isFresh && index == 0) }
            runs[place].take(host: 0, from: desk.slots, at: deskSlots)
        }
        if desk.hasWritesWaiting { writesWait = true }
    }

    /// Values of the frames that a host has completed; any other word says that it failed.
    private func take(_ word: (peer: Int, header: FrameHeader, payload: UnsafeRawBufferPointer)) throws {
        let (host, header, values) = word
        guard header.kind == .done else { return try hear(header, values, from: host) }
        guard header.epoch == desk.epoch else { return }
        let count = Int(header.count), first = header.frame &+ 1 &- UInt64(count)
        // One that completed none of a run says so with the frame before it.
        guard let place = [oldest, 1 - oldest].first(where: { runs[$0].count > 0 && runs[$0].first == first }),
            runs[place].take(host: host, count: count, values)
        else {
            throw RunFailure(
                .protocolError, host: directory.name(host), frame: runs[oldest].first,
                cause: "said done for frame \(header.frame)")
        }
        if header.phase == FrameHeader.held { writesWait = true }
        note(.doneMessage, host, frame: header.frame, count: count)
    }

    /// Within a grant something failed in a frame. The other hosts have all they need for the frames before it, and say what
    /// they have completed when they get no further; then, or after a moment, they are asked to end where they are.
    private func salvage(_ failedFrame: UInt64?) {
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
    private static let catchingUpSeconds = 0.25

    /// Takes what hosts say until each has said its last or is far enough.
    private func listen(to waited: inout Set<Int>, seconds: Double, isFarEnough: (Int) -> Bool) {
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
            } else if take(note: word.payload) {
                continue
            } else if let message = ControlMessage(word.payload), message.say == "failed" || message.say == "ok" {
                waited.remove(word.peer)
                openHosts.remove(word.peer)
            }
        }
    }

    /// The last frame that a host has said done of, among those under way.
    private func completed(by host: Int) -> UInt64 {
        let frames = runs[oldest].done[host]
        let more = frames == runs[oldest].count && runsUnderWay > 1 ? runs[1 - oldest].done[host] : 0
        return runs[oldest].first - 1 + frames + more
    }

    /// Tells a host to end its modules, also one that has failed: it waits for that before it closes its links.
    private func dismiss(_ host: Int, hurried: Bool = true) {
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

    private func beginEpoch() {
        (oldest, runsUnderWay) = (0, 0)
        runs[0].begin(0, 1)
        runs[1].begin(0, 0)
        (frame, grantedFrame, writesWait) = (0, 0, false)
    }

    /// Waits until every host has said that it is at frame 0.
    private func awaitStart() throws {
        runs[0].take(host: 0, from: desk.slots, at: deskSlots)
        while !runs[0].isDone { try take(try word()) }
        recall(0)
        completedFrame = 0
    }

    /// A host's slots follow each other as in the registry.
    private func localSlot(_ slot: Int, of host: Int) -> Int {
        var low = 0, high = shares[host].slots.count - 1
        while low < high {
            let middle = (low + high) / 2
            if shares[host].slots[middle] < slot { low = middle + 1 } else { high = middle }
        }
        return low
    }

    public func atEdge() throws {
        try desk.atEdge()
        // Between frames nobody else listens to what other hosts say.
        while let link, let word = try linked(0, { try link.nextWord(until: monotonicNow(), heedsAlarm: false) }) {
            try take(word)
        }
        if alarm.isRaised { throw alarmFailure(.alarm) }
    }

    public func sample(_ slots: [Int]) throws -> [UInt64] {
        var found: [Int: UInt64] = [:]
        for (host, wanted) in byHost(slots) {
            let local = wanted.map { localSlot($0, of: host) }
            if host == 0 {
                for (slot, bits) in zip(wanted, try desk.sample(local)) { found[slot] = bits }
                continue
            }
            try say("sample", StartValues(slots: local), to: host)
            try awaitAnswer("values", of: [host]) { _, message in
                for (slot, bits) in zip(wanted, message.body(StartValues.self)?.bits ?? []) { found[slot] = bits }
            }
        }
        return slots.map { found[$0] ?? 0 }
    }

    public func write(_ values: [(slot: Int, bits: UInt64)]) throws {
        for (host, slots) in byHost(values.map(\.slot)) {
            let own = values.filter { slots.contains($0.slot) }.map {
                (slot: localSlot($0.slot, of: host), bits: $0.bits)
            }
            if host == 0 {
                try desk.write(own)
            } else {
                // Ahead of the step that the values are meant for, on the same link.
                try say("write", StartValues(slots: own.map(\.slot), bits: own.map(\.bits)), to: host)
            }
        }
    }

    private func byHost(_ slots: [Int]) -> [Int: [Int]] {
        Dictionary(grouping: slots) { plan!.modules[plan!.registry.signals[$0].module].host }
    }

    public var slots: UnsafePointer<UInt64> { UnsafePointer(table) }
    public var epoch: UInt32 { desk.epoch }
    public var attention: UInt32 { desk.attention }
    public func sleep(seen: UInt32, until deadline: UInt64) -> Bool { desk.sleep(seen: seen, until: deadline) }
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
        let own = Dictionary(desk.moduleStates.map { ($0.name, $0.state) }, uniquingKeysWith: { first, _ in first })
        let all = states.withLock { $0 }
        return zip(simulation.modules, all).map { module, state in (module.name, own[module.name] ?? state) }
    }

    private func setStates(_ state: ModuleState) {
        states.withLock { states in
            for index in states.indices where states[index] != .error && (states[index] != .held || state == .done) {
                states[index] = state
            }
        }
    }

    /// In the order in which they came to be known here; those of one host in the order in which they fired.
    public var moduleErrors: [ModuleError] { desk.moduleErrors + errors.withLock { $0 } }

    // MARK: End

    public func terminate(hurried: Bool) {
        isEnding.store(true, ordering: .relaxed)
        if hurried { streams?.close() }
        for host in begunHosts.subtracting(openHosts) { dismiss(host) }
        for host in openHosts.sorted() {
            dismiss(host, hurried: hurried)
            // One that waits for its modules does not read its link; its node tells it from beside.
            if hurried { control?.tell(host - 1, "end", EndRun(run: run)) }
        }
        desk.terminate(hurried: hurried)
        let limit = deadline(after: hurried ? 4 : 8)
        while let link {
            openHosts.subtract(goneHosts.withLock { $0 })
            if openHosts.isEmpty || monotonicNow() > limit { break }
            // In slices: a host that is lost meanwhile says nothing here.
            let slice = monotonicNow() + 20_000_000
            guard let (host, header, payload) = try? link.nextWord(until: slice, heedsAlarm: false) else { continue }
            guard header.kind == .control, let message = ControlMessage(payload), !take(note: payload) else { continue }
            if message.id == number && message.say == "ok" || message.say == "failed" { openHosts.remove(host) }
        }
        hearLastWords()
        for host in openHosts { control?.tell(host - 1, "end", EndRun(run: run)) }
        setStates(.done)
        measureClocks()
    }

    /// That a host is gone may be known before what it said last is read; it does not matter much.
    private func hearLastWords() {
        let limit = monotonicNow() + 50_000_000
        func isUntold(_ host: Int) -> Bool {
            let name = directory.name(host)
            return !told.contains { $0.host == name }
                || settings.trace != nil && !traced.contains { $0.host == name }
        }
        while let link, completedFrame > 0, begunHosts.contains(where: isUntold), monotonicNow() < limit {
            guard let word = try? link.nextWord(until: limit, heedsAlarm: false) else { break }
            _ = take(note: word.payload)
        }
    }

    public func expectStart(at due: UInt64) { desk.expectStart(at: due) }

    /// In the order of `hosts:`, the desk first.
    public var hostTimes: [HostTimes] {
        desk.hostTimes
            + (1..<directory.count).compactMap { index in told.last { $0.host == directory.name(index) } }
    }

    public var hostTraces: [TracedHost] {
        desk.hostTraces
            + (1..<directory.count).compactMap { index in
                traced.last { $0.host == directory.name(index) }.map {
                    TracedHost(trace: $0, clock: clocks[index] ?? ClockLine())
                }
            }
    }

    /// Asks each host's node for its clock a few times, for a timeline; the quickest answer says most.
    private func measureClocks() {
        guard settings.trace != nil, let control else { return }
        for host in 1..<directory.count {
            var best: (asked: UInt64, there: UInt64, heard: UInt64)?
            for _ in 0..<Self.clockQuestions {
                let asked = monotonicNow()
                guard let question = try? control.ask(host - 1, "ping", ControlMessage.Nothing()),
                    let pong = try? control.answer(to: question, until: asked + 500_000_000).body(Pong.self),
                    let there = pong.monotonicNanoseconds
                else { break }
                let heard = monotonicNow()
                if best.map({ heard - asked < $0.heard - $0.asked }) ?? true { best = (asked, there, heard) }
            }
            if let best {
                clocks[host, default: ClockLine()].add(asked: best.asked, there: best.there, heard: best.heard)
            }
        }
    }
    private static let clockQuestions = 16

    private func note(_ kind: TraceEvent.Kind, _ host: Int, frame: UInt64, count: Int) {
        guard let trace = settings.trace else { return }
        let now = monotonicNow()
        trace.add(TraceEvent(kind, begin: now, end: now, frame: frame, epoch: epoch, subject: host, detail: count))
    }

    /// Hosts that are lost or whose process of this run has ended.
    private let goneHosts = Mutex<Set<Int>>([])

    public func remove() {
        isOver.raise()
        streams?.close()
        if let watching { pthread_join(watching, nil) }
        desk.remove()
        link?.close(lingers: false)
        awaitLastLines()
        control?.close()
        linkContext.close()
        controlContext.close()
    }

    /// A node says that the run is over there, and before that what modules printed last. Waited for as long as something
    /// comes, within reason.
    private func awaitLastLines() {
        let limit = deadline(after: 10)
        var heard = heardLines.load(ordering: .relaxed), quietLimit = deadline(after: 0.5)
        while !begunHosts.isSubset(of: silentHosts.withLock { $0 }), monotonicNow() < min(limit, quietLimit) {
            usleep(500)
            let now = heardLines.load(ordering: .relaxed)
            if now != heard { quietLimit = deadline(after: 0.5) }
            heard = now
        }
    }
    private let heardLines = Atomic<Int>(0)
    /// Hosts whose node has said all of this run, or is lost.
    private let silentHosts = Mutex<Set<Int>>([])

    // MARK: Words

    private func say<Body: Codable>(_ what: String, _ body: Body, to host: Int, urgent: Bool = false) throws {
        let message = try ControlMessage(what, id: number, body)
        try linked(host) { try link!.send(message, to: host, epoch: desk.epoch, urgent: urgent) }
    }

    /// Asks every host the same and waits until all have said ok.
    private func askAll<Body: Codable>(_ what: String, _ body: (Int) -> Body) throws {
        for host in 1..<directory.count { try say(what, body(host), to: host) }
        try awaitAll("ok") { _, _ in }
    }

    private func awaitAll(_ what: String, _ take: (Int, ControlMessage) throws -> Void) throws {
        try awaitAnswer(what, of: Set(1..<directory.count), take)
    }

    private func awaitAnswer(
        _ what: String, of hosts: Set<Int>, _ take: (Int, ControlMessage) throws -> Void
    ) throws {
        var owed = hosts
        while !owed.isEmpty {
            let (host, header, payload) = try word()
            guard header.kind == .control, let message = ControlMessage(payload) else { continue }
            if message.say == what {
                if owed.remove(host) != nil { try take(host, message) }
            } else {
                try hear(header, payload, from: host)
            }
        }
        number += 1
    }

    private func word() throws -> (peer: Int, header: FrameHeader, payload: UnsafeRawBufferPointer) {
        do throws(LinkFault) {
            let half = deadline(after: patienceSeconds / 2)
            if let word = try link!.nextWord(until: half) { return word }
            settings.warning("waiting for \(whoOwes), frame \(frame)")
            if let word = try link!.nextWord(until: deadline(after: patienceSeconds / 2)) { return word }
        } catch {
            throw alarmFailure(error)
        }
        throw RunFailure(
            .timeout, frame: hasStaged ? frame : nil,
            cause: "nothing was heard of \(whoOwes) for \(Int(patienceSeconds)) s")
    }

    /// Hosts watch their modules' time-outs themselves; this is for one that lives and does not even do that.
    private var patienceSeconds: Double {
        longestStepSeconds == 0 ? 0 : max(longestStepSeconds, 60) * Double(simulation.execution.schedule.count + 1)
    }

    /// How long a step may take on any host; 0 for ever.
    private var longestStepSeconds: Double {
        let all = simulation.modules.map { module in
            let timeout = module.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds
            let isRestarted = (module.onError ?? simulation.execution.onModuleError) == .restart
            return timeout == 0 ? 0 : timeout + (isRestarted ? Self.restartSeconds : 0)
        }
        return all.contains(0) ? 0 : all.max() ?? 0
    }
    /// Seconds in which a process that failed has ended and another has staged in its place.
    private static let restartSeconds = 60.0

    private var whoOwes: String {
        let done = runs.isEmpty ? [] : runs[oldest].done
        let names = done.indices.dropFirst().filter { done[$0] < runs[oldest].count }.map {
            "host \(directory.name($0))"
        }
        return names.isEmpty ? "the other hosts" : names.joined(separator: ", ")
    }

    /// True for a word that says what `on_module_error` did on a host, ahead of the done of that frame, or, ahead of its last
    /// word, where its time went.
    private func take(note payload: UnsafeRawBufferPointer) -> Bool {
        guard let message = ControlMessage(payload) else { return false }
        if message.say == "times" {
            if let times = message.body(HostTimes.self) { told.append(times) }
            return true
        }
        if message.say == "trace" {
            if let trace = message.body(HostTrace.self) { traced.append(trace) }
            return true
        }
        guard message.say == "fired", let error = message.body(ModuleError.self) else { return false }
        errors.withLock { $0.append(error) }
        if error.action == .held, let index = simulation.modules.firstIndex(where: { $0.name == error.module }) {
            states.withLock { $0[index] = .held }
        }
        return true
    }

    /// A word nobody waited for: what fired on a host, or that it failed.
    private func hear(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer, from host: Int) throws {
        if !hasStaged, let message = ControlMessage(payload), message.say == "applied" {
            applied[host] = message.body(RealtimeReport.self)
        }
        guard header.kind == .control, let failure = failure(in: payload, from: host) else { return }
        throw failure.code == .lost && failure.peer != nil ? try rootOf(failure) : failure
    }

    /// What a host says that has failed; nil for any other word.
    private func failure(in payload: UnsafeRawBufferPointer, from host: Int) -> RunFailure? {
        guard !take(note: payload), let message = ControlMessage(payload), message.say == "failed",
            var failure = message.body(RunFailure.self)
        else { return nil }
        failure.host = failure.host ?? directory.name(host)
        openHosts.remove(host)
        if let index = simulation.modules.firstIndex(where: { $0.name == failure.module }) {
            states.withLock { $0[index] = .error }
        }
        return failure
    }

    /// Does the desk's part; a host that fails meanwhile interrupts it, and is what is reported.
    private func onDesk(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let failure as RunFailure where failure.code == .refused || failure.code == .lost {
            if let known = try hostFailure() { throw known }
            throw failure.peer == nil ? failure : try rootOf(failure)
        }
    }

    /// What is known of a host's failure. What the host itself still said comes first, then what its node saw: both may
    /// be on their way when the link is found broken.
    private func hostFailure() throws -> RunFailure? {
        let limit = monotonicNow() + Self.wordsNanoseconds
        while true {
            while let word = try link?.nextWord(until: monotonicNow(), heedsAlarm: false) { try take(word) }
            guard var failure = loss.withLock({ $0 }) else { return nil }
            if failure.code != .lost || monotonicNow() > limit || isDetailed.load(ordering: .relaxed) {
                if hasStaged { failure.frame = failure.frame ?? frame }
                return failure
            }
            usleep(2000)
        }
    }
    /// How long the cause of a broken link may take to come.
    private static let wordsNanoseconds: UInt64 = 60_000_000

    /// Hosts have lost links to others, and end; so others lose theirs to them. To blame is what is no consequence: a
    /// failure of another kind, or else the host that somebody lost and that says nothing itself. If that one is not lost
    /// here, it is the cable between the two.
    private func rootOf(_ report: RunFailure) throws -> RunFailure {
        reports.append(report)
        let limit = deadline(after: settings.livenessSeconds * 0.2)
        func suspects() -> [RunFailure] {
            reports.filter { each in !reports.contains { $0.host == each.peer } }
        }
        while monotonicNow() < limit {
            if let loss = loss.withLock({ $0 }), suspects().contains(where: { $0.peer == loss.host }) {
                return try hostFailure() ?? report
            }
            guard let word = try link?.nextWord(until: monotonicNow() + 5_000_000, heedsAlarm: false) else { continue }
            if word.header.kind == .done {
                try take(word)
            } else if let failure = failure(in: word.payload, from: word.peer) {
                guard failure.code == .lost, failure.peer != nil else { return failure }
                reports.append(failure)
            }
        }
        for suspect in suspects() where goneHosts.withLock({ $0.contains(directory.index(suspect.peer!)) }) {
            return RunFailure(
                .lost, host: suspect.peer, frame: suspect.frame,
                cause: "lost: the host or its node is down, or the network between")
        }
        return suspects().first ?? Self.end(of: reports)
    }

    /// Where all have lost somebody who has lost somebody, two have lost each other, and the rest one of these: where the
    /// first report leads to.
    private static func end(of reports: [RunFailure]) -> RunFailure {
        var report = reports[0], passed = [report.host]
        while let next = reports.first(where: { $0.host == report.peer }), !passed.contains(next.host) {
            report = next
            passed.append(next.host)
        }
        return report
    }
    /// Of lost links, by the hosts that lost them; while one is looked into, others come.
    private var reports: [RunFailure] = []
    /// The node has said what became of the lost host's process, or is lost itself.
    private let isDetailed = Atomic<Bool>(false)

    private func linked<Result>(_ host: Int, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let fault as LinkFault {
            throw alarmFailure(fault)
        }
    }

    private func alarmFailure(_ fault: LinkFault) -> any Error {
        do {
            if let failure = try hostFailure() { return failure }
        } catch {
            return error
        }
        switch fault {
        case .alarm, .interrupted:
            if isAbandoned.load(ordering: .relaxed) {
                return RunFailure(.refused, cause: "interrupted while waiting for hosts")
            }
            do { try desk.atEdge() } catch { return error }
            return RunFailure(.protocolError, cause: "the run was interrupted for no known reason")
        case .protocolError(let peer, let cause):
            return RunFailure(.protocolError, host: directory.name(peer), cause: cause)
        case .silent(let peer, _):
            return RunFailure(.timeout, host: directory.name(peer), cause: "does not answer")
        case .unreachable(let peer):
            return RunFailure(.lost, host: directory.name(peer), cause: "can't be reached any more")
        }
    }

    private func answer(_ question: NodeControl.Question, host: Int, until limit: UInt64) throws -> ControlMessage {
        do {
            return try control!.answer(to: question, until: limit)
        } catch let refused as Refused {
            throw RunFailure(.refused, host: directory.name(host), cause: refused.cause)
        } catch let missing as NodeControl.NoAnswer {
            if isAbandoned.load(ordering: .relaxed) {
                throw RunFailure(.refused, cause: "interrupted while waiting for host \(directory.name(host))")
            }
            throw RunFailure(.lost, host: directory.name(host), cause: missing.cause)
        }
    }

    // MARK: On other threads

    private func lose(_ host: Int, _ what: String, isNode: Bool) {
        if isNode { silentHosts.withLock { _ = $0.insert(host) } }
        goneHosts.withLock { _ = $0.insert(host) }
        if isEnding.load(ordering: .relaxed) { return }
        let failure = RunFailure(
            .lost, host: directory.name(host),
            cause: "\(what): the host or its node is down, or the network between")
        loss.withLock { $0 = $0 ?? failure }
        if isNode { isDetailed.store(true, ordering: .relaxed) }
        alarm.raise()
        desk.raiseAttention()
    }

    private func hear(_ message: ControlMessage, from host: Int) {
        switch message.say {
        case "line":
            guard let line = message.body(SaidLine.self), line.run == run else { return }
            heardLines.add(1, ordering: .relaxed)
            if let module = line.module {
                settings.moduleLine(directory.name(host), module, line.text)
            } else {
                settings.warning(line.text)
            }
        case "gone":
            guard let gone = message.body(GoneRun.self), gone.run == run else { return }
            silentHosts.withLock { _ = $0.insert(host) }
            goneHosts.withLock { _ = $0.insert(host) }
            guard !isEnding.load(ordering: .relaxed), let cause = gone.cause else { return }
            loss.withLock { loss in
                if loss == nil || loss?.host == directory.name(host) {
                    loss = RunFailure(.lost, host: directory.name(host), cause: cause)
                    isDetailed.store(true, ordering: .relaxed)
                }
            }
            alarm.raise()
            desk.raiseAttention()
        case "stuck":
            guard let failure = message.body(RunFailure.self) else { return }
            loss.withLock { $0 = $0 ?? failure }
            alarm.raise()
            desk.raiseAttention()
        default: return
        }
    }
}

/// CLOCK_REALTIME, nanoseconds.
enum ThisMachineClock {
    static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
