import HermesModel

/// What one host does in each frame: its part of the plan, and what it sends to and gets from other hosts.
///
/// Slots beyond the host's own signals are mirrors: first the inbox, values that came from other hosts, then the outbox,
/// values on their way to them. A wire that crosses hosts is a copy into an outbox on one and a delivery out of an inbox
/// on the other, by the same code that delivers wires at home.
public struct HostShare: Sendable {
    /// Part of a message between two hosts: neighbours in the inbox or the outbox.
    public struct Part: Sendable, Equatable {
        /// Index of the other host in the plan.
        public var peer: Int
        /// The phase whose message it is.
        public var phase: Int
        /// First slot, counted from the start of inbox or outbox.
        public var offset: Int
        public var count: Int

        public init(peer: Int, phase: Int, offset: Int, count: Int) {
            self.peer = peer
            self.phase = phase
            self.offset = offset
            self.count = count
        }
    }

    /// Index in the plan's hosts.
    public var host: Int
    /// Only this host's modules, phases and signals.
    public var plan: Plan
    /// For each of its signals, the index in the whole registry.
    public var slots: [Int]
    public var inboxCount = 0
    public var outboxCount = 0
    /// For each phase the copies into the outbox, made when its modules are done and before its wires are delivered; then
    /// one with all of them, for the start. Empty when nothing leaves this host.
    public var gathers: [Delivery] = []
    /// For each phase what is sent when its modules are done; then, for the start, one part a peer.
    public var sends: [[Part]]
    /// For each phase what must be there before its wires are delivered; then, for the start, one part a peer.
    public var receives: [[Part]]

    /// Where a signal of the whole plan is here; nil for another host's.
    public func localSlot(of whole: Int) -> Int? {
        // They rise: modules and their signals keep their order.
        var low = 0, high = slots.count
        while low < high {
            let middle = (low + high) / 2
            if slots[middle] < whole { low = middle + 1 } else { high = middle }
        }
        return low < slots.count && slots[low] == whole ? low : nil
    }

    /// Those of values that are for this host, by its own slots.
    public func localised(_ values: [(slot: Int, bits: UInt64)]) -> [(slot: Int, bits: UInt64)] {
        values.compactMap { slot, bits in localSlot(of: slot).map { (slot: $0, bits: bits) } }
    }

    public init(host: Int, plan: Plan, slots: [Int]) {
        self.host = host
        self.plan = plan
        self.slots = slots
        sends = Array(repeating: [], count: plan.phases.count + 1)
        receives = sends
    }

    /// A whole plan as the share of the only host.
    public init(whole plan: Plan) {
        self.init(host: 0, plan: plan, slots: Array(plan.registry.signals.indices))
    }

    public var mirrorCount: Int { inboxCount + outboxCount }
    /// True when the node has something to send or to wait for once the modules of this phase are done.
    public func hasExchange(phase: Int) -> Bool { !sends[phase].isEmpty || !receives[phase].isEmpty }
}

extension Plan {
    /// Each host's share, in the order of `hosts`. A pure function.
    ///
    /// 1. Split modules, phases and signals.
    /// 2. For each pair of hosts, decide which values travel with which message (`MirrorRoute`).
    /// 3. Pack each host's deliveries: wires at home, wires out of the inbox, and copies into the outbox.
    public func shares() -> [HostShare] {
        if hosts.count == 1 { return [HostShare(whole: self)] }
        var shares = hosts.indices.map { split(host: $0) }
        let localSlot = localSlots(shares)
        var links = shares.map { share in Array(repeating: [Delivery.Conversion](), count: share.plan.phases.count + 1)
        }
        addWiresAtHome(localSlot, &links)
        var gathers = links.map { $0.map { _ in [Delivery.Conversion]() } }
        let routes = MirrorRoute.all(self)
        for route in routes {
            let out = shares[route.from].outboxCount, into = shares[route.to].inboxCount
            shares[route.from].outboxCount += route.values.count
            shares[route.to].inboxCount += route.values.count
            addParts(of: route, outbox: out, inbox: into, &shares)
        }
        var outbox = shares.map { $0.slots.count + $0.inboxCount }, inbox = shares.map { $0.slots.count }
        for route in routes {
            for value in route.values {
                let source = registry.signals[value.source]
                let gather = Delivery.Conversion(
                    source: localSlot[value.source], destination: outbox[route.from], sourceType: source.type,
                    destinationType: source.type, gain: 1, offset: 0)
                gathers[route.from][value.phase].append(gather)
                gathers[route.from][phases.count].append(gather)
                for (wire, due) in value.wires {
                    let link = Delivery.Conversion(
                        source: inbox[route.to], destination: localSlot[wire.destination], sourceType: source.type,
                        destinationType: registry.signals[wire.destination].type, gain: wire.gain, offset: wire.offset)
                    links[route.to][due].append(link)
                    links[route.to][phases.count].append(link)
                }
                outbox[route.from] += 1
                inbox[route.to] += 1
            }
        }
        for host in hosts.indices {
            shares[host].plan.deliveries = links[host].map { Delivery($0) }
            if shares[host].outboxCount > 0 { shares[host].gathers = gathers[host].map { Delivery($0) } }
        }
        return shares
    }

    private func split(host: Int) -> HostShare {
        var registry = SignalRegistry()
        var own: [PlannedModule] = [], slots: [Int] = []
        var localModule: [Int: Int] = [:]
        for (index, module) in modules.enumerated() where module.host == host {
            localModule[index] = own.count
            var mine = module
            mine.firstSignal = slots.count
            for slot in module.firstSignal..<(module.firstSignal + module.signalCount) {
                var signal = self.registry.signals[slot]
                signal.module = own.count
                registry.register(signal)
                slots.append(slot)
            }
            own.append(mine)
        }
        var plan = Plan(
            simulationName: simulationName, rateHz: rateHz, modules: own,
            phases: phases.map { $0.compactMap { localModule[$0] } }, registry: registry, deliveries: [])
        plan.hosts = hosts
        return HostShare(host: host, plan: plan, slots: slots)
    }

    /// For each signal of the whole registry its slot on its own host.
    private func localSlots(_ shares: [HostShare]) -> [Int] {
        var local = Array(repeating: 0, count: registry.signals.count)
        for share in shares {
            for (slot, whole) in share.slots.enumerated() { local[whole] = slot }
        }
        return local
    }

    private func addWiresAtHome(_ localSlot: [Int], _ links: inout [[[Delivery.Conversion]]]) {
        for wire in wires {
            let from = registry.signals[wire.source], to = registry.signals[wire.destination]
            let host = modules[from.module].host
            guard modules[to.module].host == host else { continue }
            let link = Delivery.Conversion(
                source: localSlot[wire.source], destination: localSlot[wire.destination], sourceType: from.type,
                destinationType: to.type, gain: wire.gain, offset: wire.offset)
            links[host][modules[from.module].phase].append(link)
            links[host][phases.count].append(link)
        }
    }

    private func addParts(of route: MirrorRoute, outbox: Int, inbox: Int, _ shares: inout [HostShare]) {
        for message in route.messages {
            let count = message.values.count
            shares[route.from].sends[message.phase].append(
                HostShare.Part(
                    peer: route.to, phase: message.phase, offset: outbox + message.values.lowerBound, count: count))
            shares[route.to].receives[message.dueBefore].append(
                HostShare.Part(
                    peer: route.from, phase: message.phase, offset: inbox + message.values.lowerBound, count: count))
        }
        let count = route.values.count
        shares[route.from].sends[phases.count].append(
            HostShare.Part(peer: route.to, phase: phases.count, offset: outbox, count: count))
        shares[route.to].receives[phases.count].append(
            HostShare.Part(peer: route.from, phase: phases.count, offset: inbox, count: count))
    }
}
