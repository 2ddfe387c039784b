import HermesModel
import HermesPlan

/// The shares of a plan carried out side by side, one action at a time, by hosts that share nothing but messages.
struct ManyHosts {
    struct Message {
        var epoch, frame, phase: Int
        var values: [UInt64]
    }
    /// In flight, by sender and receiver; those of a pair come in the order they were sent.
    private(set) var messages: [[[Message]]]
    private(set) var hosts: [OneOfMany]

    init(_ random: RandomSketch, _ shares: [HostShare]) {
        messages = shares.map { _ in shares.map { _ in [] } }
        hosts = shares.map { OneOfMany(random, $0) }
    }

    /// Until nobody can go on.
    /// - Parameter stalled: a host that does nothing at all.
    mutating func run(_ order: inout SplitMix, stalled: Int? = nil) throws {
        while true {
            let ready = hosts.indices.filter { $0 != stalled && hosts[$0].canAct(messages) }
            guard let host = ready.randomElement(using: &order) else { return }
            // Some far ahead at once, some step by step.
            for _ in 0..<(order.chance(0.3) ? Int.max : Int.random(in: 1...6, using: &order)) {
                guard hosts[host].canAct(messages) else { break }
                try hosts[host].act(&messages)
            }
        }
    }

    var areDone: Bool { hosts.allSatisfy(\.isDone) }
    var isNothingUnderWay: Bool { messages.allSatisfy { $0.allSatisfy(\.isEmpty) } }

    /// For each epoch that every host has recorded a row of all signals for each frame.
    func rows(signalCount: Int) -> [[[UInt64]]] {
        hosts[0].rows.indices.map { epoch in
            hosts[0].rows[epoch].indices.map { frame in
                var row = Array(repeating: UInt64(0), count: signalCount)
                for host in hosts {
                    for (slot, whole) in host.share.slots.enumerated() { row[whole] = host.rows[epoch][frame][slot] }
                }
                return row
            }
        }
    }
}

/// One host at work on its share.
struct OneOfMany {
    struct OutOfTurn: Error, CustomStringConvertible {
        var description: String
    }
    private enum Action {
        case begin, step(Int), gather, send(Int), receive(HostShare.Part), deliver, record
    }

    let share: HostShare
    private let random: RandomSketch
    /// Own signals, then inbox, then outbox.
    private var slots: [UInt64]
    private var epoch = 0, frame = 0, phase = 0
    private var agenda: [Action] = []
    /// By epoch and frame.
    private(set) var rows: [[[UInt64]]] = []
    /// Those it has taken a message of.
    private(set) var heard: Set<Int> = []

    init(_ random: RandomSketch, _ share: HostShare) {
        self.random = random
        self.share = share
        // What was never written must not matter.
        slots = (0..<(share.slots.count + share.mirrorCount)).map { SplitMix.mix(UInt64($0) &+ 12345) }
        phase = last
        plan()
    }

    private var last: Int { share.plan.phases.count }
    private var inbox: Int { share.slots.count }
    private var outbox: Int { share.slots.count + share.inboxCount }
    var isDone: Bool { epoch == random.epochs.count }

    func canAct(_ messages: [[[ManyHosts.Message]]]) -> Bool {
        guard !isDone, let next = agenda.first else { return false }
        if case .receive(let part) = next { return !messages[part.peer][share.host].isEmpty }
        return true
    }

    mutating func act(_ messages: inout [[[ManyHosts.Message]]]) throws {
        switch agenda.removeFirst() {
        case .begin: begin()
        case .step(let module): step(module)
        case .gather: if !share.gathers.isEmpty { carryOut(share.gathers[phase]) }
        case .send(let index):
            let part = share.sends[phase][index], from = outbox + part.offset
            messages[share.host][part.peer].append(
                ManyHosts.Message(
                    epoch: epoch, frame: frame, phase: part.phase, values: Array(slots[from..<(from + part.count)])))
        case .receive(let part):
            let message = messages[part.peer][share.host].removeFirst()
            guard message.epoch == epoch, message.frame == frame, message.phase == part.phase,
                message.values.count == part.count
            else {
                throw OutOfTurn(
                    description: "host \(share.host) waits in epoch \(epoch), frame \(frame), phase \(phase) for "
                        + "\(part), and gets \(message)")
            }
            slots.replaceSubrange((inbox + part.offset)..<(inbox + part.offset + part.count), with: message.values)
            heard.insert(part.peer)
        case .deliver: carryOut(share.plan.deliveries[phase])
        case .record: rows[epoch].append(Array(slots[..<inbox]))
        }
        if agenda.isEmpty { goOn() }
    }

    /// What there is to do in this phase of this frame; frame 0 has one phase, the start.
    private mutating func plan() {
        let isStart = frame == 0
        agenda = isStart || phase == 0 ? [.begin] : []
        if !isStart {
            agenda += share.plan.phases[phase].filter { (frame - 1) % share.plan.modules[$0].divisor == 0 }.map {
                .step($0)
            }
        }
        agenda += [.gather] + share.sends[phase].indices.map { .send($0) }
        agenda += share.receives[phase].map { .receive($0) } + [.deliver]
        if isStart || phase == last - 1 { agenda.append(.record) }
    }

    private mutating func goOn() {
        if phase < last - 1 {
            phase += 1
        } else if frame < random.epochs[epoch].frames {
            (frame, phase) = (frame + 1, 0)
        } else {
            epoch += 1
            frame = 0
        }
        if isDone { return }
        if frame == 0 { phase = last }
        plan()
    }

    private mutating func begin() {
        if frame == 0 {
            rows.append([])
            for (slot, whole) in share.slots.enumerated() {
                slots[slot] = Arithmetic.start(slot: whole, share.plan.registry.signals[slot].type)
            }
        }
        for write in frame == 0 ? random.overrides : random.epochs[epoch].writes[frame] ?? [] {
            if let slot = share.slots.firstIndex(of: write.slot) { slots[slot] = write.bits }
        }
    }

    private mutating func step(_ index: Int) {
        let module = share.plan.modules[index]
        let own = module.firstSignal..<(module.firstSignal + module.signalCount)
        let signals = share.plan.registry.signals
        slots.replaceSubrange(
            own,
            with: Arithmetic.step(
                Array(slots[own]), types: own.map { signals[$0].type }, wired: own.map { signals[$0].isWired },
                module: random.sketch.modules.firstIndex { $0.name == module.name }!, dt: module.dt))
    }

    /// Runs, copies, conversions; through a stage only where the delivery asks for one.
    private mutating func carryOut(_ delivery: Delivery) {
        let before = slots
        func read(_ slot: Int) -> UInt64 { delivery.isStaged ? before[slot] : slots[slot] }
        for run in delivery.runs {
            for step in 0..<run.count { slots[run.destination + step] = read(run.source + step) }
        }
        for copy in delivery.copies { slots[copy.destination] = read(copy.source) }
        for each in delivery.conversions {
            slots[each.destination] = Arithmetic.convert(
                read(each.source), from: each.sourceType, to: each.destinationType, gain: each.gain,
                offset: each.offset)
        }
    }
}
