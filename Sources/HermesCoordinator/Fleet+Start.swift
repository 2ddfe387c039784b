import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport
import Synchronization

// How the hosts of a run come together: from hello to frame 0.
extension Fleet {
    public func launch() throws -> [Announcement] {
        let wrong = directory.unreachable()
        if !wrong.isEmpty { throw ConfigurationError(wrong) }
        try meet()
        let files = try StaleFiles(simulation, directory.hosts, control!)
        let opened = try openRuns()
        try setUp(opened)
        files.report(settings.warning)
        return try launchModules()
    }

    func meet() throws {
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
        // It may have come before there was anything to give up.
        if isAbandoned.load(ordering: .relaxed) { control.abandon() }
        let limit = deadline(after: settings.graceSeconds)
        let hellos = try nodes.indices.map { try control.ask($0, "hello", Hello(version: hermesVersion)) }
        let asked = ThisMachineClock.now
        for (index, hello) in hellos.enumerated() {
            let welcome: Welcome = try read(try answer(hello, host: index + 1, until: limit), from: index + 1)
            try check(welcome, host: index + 1, asked: asked)
            settings.welcomed(directory.name(index + 1), welcome)
        }
    }

    func check(_ welcome: Welcome, host: Int, asked: Int) throws {
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
    func openRuns() throws -> [OpenedRun] {
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
        watching = try startThread("the links to other hosts") {
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
            let opened: OpenedRun = try read(try answer(question, host: index + 1, until: limit), from: index + 1)
            begunHosts.insert(index + 1)
            if opened.takesValues == true { takesValueBytes.insert(index + 1) }
            return opened
        }
    }

    func setUp(_ opened: [OpenedRun]) throws {
        let link = link!
        for index in directory.hosts.indices {
            try linked(index + 1) {
                try link.dial(
                    peer: index + 1,
                    at: HostDirectory.endpoint(
                        control!.reached(index), port: opened[index].port, path: opened[index].path))
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
    func streamRoads(_ opened: [OpenedRun]) throws -> [[SetUp.Stream]]? {
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

    func meetStreams(_ wanted: [SetUp.Stream]) throws {
        let streams = MirrorStreams(run: run, index: 0, participants: directory.count, alarm: alarm)
        self.streams = streams
        let meeting = StreamMeeting(
            run: run, index: 0, token: token, alarm: alarm, refused: { _ in })
        let missing = try linked(0) {
            try meeting.meet(wanted, through: StreamDoor(), into: streams, until: deadline(after: 8))
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

    func launchModules() throws -> [Announcement] {
        for host in 1..<directory.count {
            let items = simulation.modules.filter { $0.host == directory.name(host) }.map { module in
                LaunchModules.Item(
                    name: module.name, kind: module.kind.rawValue, program: module.program, arguments: module.arguments,
                    environment: module.environment.flatMap { [$0.name, $0.value] },
                    workingDirectory: module.workingDirectory, configuration: module.configuration,
                    stepTimeoutSeconds: module.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds,
                    startTimeoutSeconds: module.startTimeoutSeconds,
                    onError: (module.onError ?? simulation.execution.onModuleError).rawValue)
            }
            let launch = LaunchModules(
                modules: items, restartLimit: simulation.execution.restartLimit,
                realtime: RealtimeOrder(simulation, host: directory.name(host)))
            try say("launch", launch, to: host)
        }
        var announced: [ByteString: Announcement] = [:]
        let own = try desk.launch()
        for (module, announcement) in zip(simulation.modules.filter({ $0.host == nil }), own) {
            announced[module.name.bytes] = announcement
        }
        try awaitAll("announced") { host, message in
            let body: Announced = try self.read(message, from: host)
            let modules = self.simulation.modules.filter { $0.host == self.directory.name(host) }
            guard body.modules.count == modules.count else {
                throw RunFailure(
                    .protocolError, host: self.directory.name(host),
                    cause: "announced \(body.modules.count) modules of \(modules.count)")
            }
            for (module, announcement) in zip(modules, body.announcements) {
                announced[module.name.bytes] = announcement
            }
        }
        return try simulation.modules.map { module in
            guard let announcement = announced[module.name.bytes] else {
                throw RunFailure(.protocolError, module: module.name, host: module.host, cause: "has not announced")
            }
            return announcement
        }
    }

    public func prepare(_ plan: Plan) throws {
        self.plan = plan
        shares = plan.shares()
        let wanted = settings.collects(plan)
        collected = Array(repeating: [], count: plan.hosts.count)
        for signal in wanted { collected[plan.modules[plan.registry.signals[signal].module].host].append(signal) }
        deskSlots = collected[0].compactMap { shares[0].localSlot(of: $0) }
        grant = Grant(fixed: settings.grant, width: collected.map(\.count).max() ?? 0)
        runs = Array(repeating: GrantedRun(widths: collected.map(\.count)), count: 2)
        table.deallocate()
        table = .allocate(capacity: max(plan.registry.signals.count, 1))
        table.initialize(repeating: 0, count: max(plan.registry.signals.count, 1))
        for host in 1..<directory.count {
            var message = ShareMessage(
                shares[host], collected: collected[host].compactMap { shares[host].localSlot(of: $0) },
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
            let mine = shares[host].localised(overrides)
            try say("stage", StartValues(slots: mine.map(\.slot), bits: mine.map(\.bits)), to: host)
        }
        try onDesk { try desk.stage(overrides: shares[0].localised(overrides)) }
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
}
