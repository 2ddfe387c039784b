import HermesModel
import HermesPlan

/// `prepare`: a host's share of the plan. Tables are flat: a row's numbers follow each other.
public struct ShareMessage: MessageBody {
    public struct Module: Codable, Sendable {
        public var name: String
        public var isInproc: Bool
        public var isFree: Bool
        public var phase: Int
        public var divisor: Int
        public var dt: Double
        public var firstSignal: Int
        public var signalCount: Int
    }
    public struct Signal: Codable, Sendable {
        /// `module.signal`
        public var name: String
        public var module: Int
        public var type: SignalType
        /// 1 writable, 2 published, 4 wired, 8 announced as output, 16 as input.
        public var bits: Int
        public var unit: String?
        public var summary: String?
    }
    public struct Wires: Codable, Sendable {
        /// source, destination, count
        public var runs: [Int]
        /// source, destination
        public var copies: [Int]
        /// source, destination, type of the source, type of the destination
        public var conversions: [Int]
        /// gain, offset of each conversion
        public var factors: [Double]
        public var isStaged: Bool
    }

    public var host: Int
    public var simulation: String
    public var rateHz: Double
    public var hosts: [String?]
    public var modules: [Module]
    public var phases: [[Int]]
    public var signals: [Signal]
    public var deliveries: [Wires]
    public var gathers: [Wires]
    public var inboxCount: Int
    public var outboxCount: Int
    /// For each phase, then for the start: peer, phase, offset, count.
    public var sends: [[Int]]
    public var receives: [[Int]]
    /// Slots whose values go with every done, in this order.
    public var collected: [Int]
    /// `trace` is to come ahead of the host's last word.
    public var wantsTrace: Bool?
    /// How long a step may take on any host, in seconds; 0 for ever.
    public var longestStepSeconds: Double

    public init(_ share: HostShare, collected: [Int], longestStepSeconds: Double) {
        self.longestStepSeconds = longestStepSeconds
        let plan = share.plan
        host = share.host
        simulation = plan.simulationName
        rateHz = plan.rateHz
        hosts = plan.hosts
        modules = plan.modules.map {
            Module(
                name: $0.name, isInproc: $0.isInproc, isFree: $0.isFree, phase: $0.phase, divisor: $0.divisor,
                dt: $0.dt,
                firstSignal: $0.firstSignal, signalCount: $0.signalCount)
        }
        phases = plan.phases
        signals = plan.registry.signals.map {
            Signal(
                name: $0.name.description, module: $0.module, type: $0.type, bits: Self.bits(of: $0), unit: $0.unit,
                summary: $0.summary)
        }
        deliveries = plan.deliveries.map { Wires($0) }
        gathers = share.gathers.map { Wires($0) }
        inboxCount = share.inboxCount
        outboxCount = share.outboxCount
        sends = share.sends.map { $0.flatMap { [$0.peer, $0.phase, $0.offset, $0.count] } }
        receives = share.receives.map { $0.flatMap { [$0.peer, $0.phase, $0.offset, $0.count] } }
        self.collected = collected
    }

    private static func bits(of signal: HermesPlan.Signal) -> Int {
        var bits = (signal.isWritable ? 1 : 0) | (signal.isPublished ? 2 : 0) | (signal.isWired ? 4 : 0)
        if signal.direction == .output || signal.direction == .both { bits |= 8 }
        if signal.direction == .input || signal.direction == .both { bits |= 16 }
        return bits
    }
}

extension ShareMessage.Wires {
    init(_ delivery: Delivery) {
        runs = delivery.runs.flatMap { [$0.source, $0.destination, $0.count] }
        copies = delivery.copies.flatMap { [$0.source, $0.destination] }
        conversions = delivery.conversions.flatMap {
            [$0.source, $0.destination, Int($0.sourceType.rawValue), Int($0.destinationType.rawValue)]
        }
        factors = delivery.conversions.flatMap { [$0.gain, $0.offset] }
        isStaged = delivery.isStaged
    }
}

/// A share that doesn't fit together: nothing of it is carried out.
public struct UnsoundShare: Error, CustomStringConvertible {
    public var description: String
}

extension ShareMessage {
    /// Each number for itself; whether they fit together is `share`'s to say.
    public func check() throws(UnsoundMessage) {
        try require(host, in: 1...(Bound.participants.upperBound - 1), "host")
        try require(hosts.count, in: Bound.participants, "hosts, in number,")
        try require(rateHz, in: Bound.rate, "rateHz")
        try require(phases.count, in: Bound.phases, "phases, in number,")
        try require(longestStepSeconds, in: Bound.seconds, "longestStepSeconds")
        for (count, field) in [(inboxCount, "inboxCount"), (outboxCount, "outboxCount")] {
            try require(count, in: Bound.count, field)
        }
        for module in modules {
            try requireName(module.name, "modules[].name")
            try require(module.phase, in: 0...(phases.count - 1), "modules[].phase")
            try require(module.divisor, in: 1...Int(UInt32.max), "modules[].divisor")
            try require(module.dt, in: 0...Double.greatestFiniteMagnitude, "modules[].dt")
            try require(module.firstSignal, in: Bound.count, "modules[].firstSignal")
            try require(module.signalCount, in: Bound.count, "modules[].signalCount")
        }
        for signal in signals {
            try require(signal.module, in: Bound.count, "signals[].module")
            try require(signal.bits, in: 0...31, "signals[].bits")
            try require(signal.unit?.utf8.count, in: Bound.text, "signals[].unit, in bytes,")
            try require(signal.summary?.utf8.count, in: Bound.text, "signals[].summary, in bytes,")
        }
        for (all, field) in [(deliveries, "deliveries"), (gathers, "gathers")] {
            for wires in all {
                for numbers in [wires.runs, wires.copies, wires.conversions] {
                    for number in numbers { try require(number, in: Bound.count, "a number of \(field)") }
                }
            }
        }
        for (all, field) in [(phases, "phases"), (sends, "sends"), (receives, "receives"), ([collected], "collected")] {
            for numbers in all {
                for number in numbers { try require(number, in: Bound.count, "a number of \(field)") }
            }
        }
    }

    /// The share, every index checked: the segment's tables are made from it.
    /// - Parameters:
    ///   - index: of the participant that it is for.
    ///   - participants: how many take part in the run, as `open` said.
    public func share(of index: Int, among participants: Int) throws(UnsoundShare) -> HostShare {
        do throws(UnsoundMessage) { try check() } catch { throw UnsoundShare(description: error.description) }
        try check(hosts.count == participants && host == index, "hosts, which are not those of the run")
        var registry = SignalRegistry()
        let slots = signals.count + inboxCount + outboxCount
        try check(signals.count <= Self.most && modules.count <= Self.most, "sizes")
        for signal in signals {
            guard let name = SignalName(signal.name), modules.indices.contains(signal.module) else {
                throw UnsoundShare(description: "the signal '\(signal.name)'")
            }
            let direction: AnnouncedSignal.Direction =
                signal.bits & 24 == 24
                ? .both : signal.bits & 8 != 0 ? .output : signal.bits & 16 != 0 ? .input : .unspecified
            let added = registry.register(
                HermesPlan.Signal(
                    name: name, module: signal.module, type: signal.type, isWritable: signal.bits & 1 != 0,
                    isPublished: signal.bits & 2 != 0, isWired: signal.bits & 4 != 0, direction: direction,
                    unit: signal.unit, summary: signal.summary))
            try check(added != nil, "the signal '\(signal.name)', twice")
        }
        let planned = try plannedModules()
        try checkPhases()
        let unpacked = try deliveries.map { (wires) throws(UnsoundShare) in try wires.delivery(slots: slots) }
        let gathered = try gathers.map { (wires) throws(UnsoundShare) in try wires.delivery(slots: slots) }
        try check(
            unpacked.count == phases.count + 1 && (gathered.isEmpty || gathered.count == phases.count + 1), "deliveries"
        )
        var plan = Plan(
            simulationName: simulation, rateHz: rateHz, modules: planned, phases: phases, registry: registry,
            deliveries: unpacked)
        plan.hosts = hosts
        var share = HostShare(host: host, plan: plan, slots: Array(signals.indices))
        share.inboxCount = inboxCount
        share.outboxCount = outboxCount
        share.gathers = gathered
        share.sends = try parts(sends, within: outboxCount)
        share.receives = try parts(receives, within: inboxCount)
        // Room beyond all that messages carry is memory for nothing.
        func end(_ exchanges: [[HostShare.Part]]) -> Int { exchanges.joined().map { $0.offset + $0.count }.max() ?? 0 }
        try check(end(share.sends) == outboxCount && end(share.receives) == inboxCount, "inbox and outbox")
        try check(collected.allSatisfy(signals.indices.contains), "collected")
        return share
    }

    /// More of anything than a segment holds.
    private static let most = Bound.count.upperBound
    /// Values that a message has room for.
    private static let mostValues = ((64 << 20) - FrameHeader.size) / 8

    private func check(_ isSound: Bool, _ what: String) throws(UnsoundShare) {
        if !isSound { throw UnsoundShare(description: what) }
    }

    /// Each module stands in its own phase, once; a free script may stand in none.
    private func checkPhases() throws(UnsoundShare) {
        var isPlaced = Array(repeating: false, count: modules.count)
        for (phase, members) in phases.enumerated() {
            for member in members {
                try check(
                    modules.indices.contains(member) && !isPlaced[member] && modules[member].phase == phase, "phases")
                isPlaced[member] = true
            }
        }
        try check(zip(isPlaced, modules).allSatisfy { $0 || $1.isFree }, "phases")
    }

    private func plannedModules() throws(UnsoundShare) -> [PlannedModule] {
        try modules.map { (module) throws(UnsoundShare) in
            let end = module.firstSignal.addingReportingOverflow(module.signalCount)
            try check(
                module.firstSignal >= 0 && module.signalCount >= 0 && !end.overflow && end.partialValue <= signals.count
                    && phases.indices.contains(module.phase) && (1...Int(UInt32.max)).contains(module.divisor),
                "the module '\(module.name)'")
            var planned = PlannedModule(
                name: module.name, isInproc: module.isInproc, isFree: module.isFree, phase: module.phase,
                divisor: module.divisor, dt: module.dt, firstSignal: module.firstSignal, signalCount: module.signalCount
            )
            planned.host = host
            return planned
        }
    }

    private func parts(_ rows: [[Int]], within limit: Int) throws(UnsoundShare) -> [[HostShare.Part]] {
        try check(rows.count == phases.count + 1, "messages")
        return try rows.map { (row) throws(UnsoundShare) in
            try check(row.count % 4 == 0, "messages")
            return try stride(from: 0, to: row.count, by: 4).map { (at) throws(UnsoundShare) in
                let part = HostShare.Part(peer: row[at], phase: row[at + 1], offset: row[at + 2], count: row[at + 3])
                try check(
                    hosts.indices.contains(part.peer) && part.peer != host && (0...phases.count).contains(part.phase)
                        && (0...limit).contains(part.offset) && (0...(limit - part.offset)).contains(part.count)
                        && part.count <= Self.mostValues,
                    "a message")
                return part
            }
        }
    }
}

extension ShareMessage.Wires {
    func delivery(slots: Int) throws(UnsoundShare) -> Delivery {
        func check(_ isSound: Bool) throws(UnsoundShare) {
            if !isSound { throw UnsoundShare(description: "wires") }
        }
        let range = 0..<slots
        try check(runs.count % 3 == 0 && copies.count % 2 == 0 && conversions.count % 4 == 0)
        try check(factors.count * 2 == conversions.count)
        var delivery = Delivery()
        delivery.isStaged = isStaged
        for at in stride(from: 0, to: runs.count, by: 3) {
            let run = Delivery.Run(source: runs[at], destination: runs[at + 1], count: runs[at + 2])
            try check((0...slots).contains(run.count) && (0...(slots - run.count)).contains(run.source))
            try check((0...(slots - run.count)).contains(run.destination))
            delivery.runs.append(run)
        }
        for at in stride(from: 0, to: copies.count, by: 2) {
            try check(range.contains(copies[at]) && range.contains(copies[at + 1]))
            delivery.copies.append(Delivery.Copy(source: copies[at], destination: copies[at + 1]))
        }
        for at in stride(from: 0, to: conversions.count, by: 4) {
            guard range.contains(conversions[at]), range.contains(conversions[at + 1]),
                let from = UInt8(exactly: conversions[at + 2]).flatMap(SignalType.init(rawValue:)),
                let to = UInt8(exactly: conversions[at + 3]).flatMap(SignalType.init(rawValue:))
            else { throw UnsoundShare(description: "wires") }
            delivery.conversions.append(
                Delivery.Conversion(
                    source: conversions[at], destination: conversions[at + 1], sourceType: from, destinationType: to,
                    gain: factors[at / 2], offset: factors[at / 2 + 1]))
        }
        return delivery
    }
}

extension Announced {
    public init(_ announcements: [Announcement]) {
        modules = announcements.map { announcement in
            Entry(
                isFree: announcement.isFree,
                signals: announcement.signals.map {
                    Item(
                        name: $0.name, type: $0.type, direction: Self.code($0.direction), writable: $0.writable,
                        published: $0.published, isNamedAccess: $0.isNamedAccess, unit: $0.unit, summary: $0.summary)
                })
        }
    }

    public var announcements: [Announcement] {
        modules.map { entry in
            Announcement(
                isFree: entry.isFree,
                signals: entry.signals.map {
                    AnnouncedSignal(
                        name: $0.name, type: $0.type, writable: $0.writable, published: $0.published,
                        direction: Self.direction($0.direction), unit: $0.unit, summary: $0.summary,
                        isNamedAccess: $0.isNamedAccess)
                })
        }
    }

    private static func code(_ direction: AnnouncedSignal.Direction) -> Int {
        switch direction {
        case .unspecified: 0
        case .input: 1
        case .output: 2
        case .both: 3
        }
    }

    private static func direction(_ code: Int) -> AnnouncedSignal.Direction {
        switch code {
        case 1: .input
        case 2: .output
        case 3: .both
        default: .unspecified
        }
    }
}
