import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport

/// A sample that other hosts have not answered yet.
struct AwaitedValues {
    var order: ValueOrder
    /// Hosts that have not answered.
    var owed: Set<Int>
    var reply: (RunFailure?) -> Void
}

// What outsiders see and set of several hosts. An order is asked of the hosts at one edge, ahead of the step behind it, so
// that all of them answer with values of one frame; the frames go on meanwhile, and the answers come among what hosts say.
extension Fleet {
    public func order(_ signals: [Int], writing bits: [UInt64]?) -> ValueOrder {
        let plan = plan!
        var parts = plan.hosts.indices.map { ValueOrder.Part(host: $0) }
        for (place, signal) in signals.enumerated() {
            let host = plan.modules[plan.registry.signals[signal].module].host
            guard let slot = shares[host].localSlot(of: signal) else { continue }
            parts[host].slots.append(slot)
            parts[host].places.append(place)
        }
        parts.removeAll(where: \.slots.isEmpty)
        let number = orders.wrappingAdd(1, ordering: .relaxed).newValue
        for index in parts.indices where parts[index].host > 0 {
            parts[index].message = message(of: parts[index], number, bits)
        }
        let own = parts.first { $0.host == 0 }.map { part in
            ValueOrder(part.slots, writing: bits.map { bits in part.places.map { bits[$0] } })
        }
        return ValueOrder(signals, writing: bits, parts: parts, number: number, own: own)
    }

    private func message(of part: ValueOrder.Part, _ number: UInt64, _ bits: [UInt64]?) -> [UInt8] {
        let values = bits.map { bits in part.places.map { bits[$0] } }
        if takesValueBytes.contains(part.host) {
            return values.map { ValueBytes.write(part.slots, $0) } ?? ValueBytes.sample(part.slots)
        }
        let body = StartValues(slots: part.slots, bits: values ?? [])
        let inJSON =
            values == nil
            ? try? ControlMessage("sample", id: Int(number), body) : try? ControlMessage("write", id: Int(number), body)
        return inJSON?.encoded ?? []
    }

    public func sample(_ order: ValueOrder, reply: @escaping (RunFailure?) -> Void) throws {
        var owed: Set<Int> = []
        for part in order.parts {
            if part.host > 0 {
                owed.insert(part.host)
            } else if let own = order.own {
                try desk.sample(own) { _ in }
                for (index, place) in part.places.enumerated() { order.bits[place] = own.bits[index] }
            }
        }
        guard !owed.isEmpty else { return reply(nil) }
        awaited[order.number] = AwaitedValues(order: order, owed: owed, reply: reply)
        do {
            for part in order.parts where part.host > 0 { try ask(part, order, .sample) }
        } catch {
            awaited[order.number] = nil
            throw error
        }
    }

    public func write(_ order: ValueOrder) throws {
        if let own = order.own { try desk.write(own) }
        // Ahead of the step that the values are meant for, on the same link.
        for part in order.parts where part.host > 0 { try ask(part, order, .write) }
    }

    private func ask(_ part: ValueOrder.Part, _ order: ValueOrder, _ kind: FrameHeader.Kind) throws {
        let isBytes = takesValueBytes.contains(part.host)
        let header = FrameHeader(
            isBytes ? kind : .control, run: run, epoch: desk.epoch, frame: isBytes ? order.number : 0,
            count: isBytes ? part.slots.count : 0)
        try linked(part.host) { try link!.send(header, to: part.host, words: part.message) }
    }

    // MARK: Answers

    /// An answer in bytes.
    func take(values header: FrameHeader, from host: Int, _ payload: UnsafeRawBufferPointer) {
        let count = min(Int(header.count), payload.count / 8)
        answer(header.frame, from: host, count: payload.count == 8 * Int(header.count) ? count : 0) { index in
            UInt64(littleEndian: payload.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        }
    }

    /// An answer in JSON, of a host that knows no other.
    func take(values message: ControlMessage, from host: Int) {
        let bits = message.body(StartValues.self)?.bits ?? []
        answer(UInt64(clamping: message.id), from: host, count: bits.count) { bits[$0] }
    }

    private func answer(_ number: UInt64, from host: Int, count: Int, _ value: (Int) -> UInt64) {
        guard let order = awaited[number]?.order, awaited[number]?.owed.remove(host) != nil,
            let part = order.parts.first(where: { $0.host == host })
        else { return }
        guard count == part.places.count else {
            let wait = awaited.removeValue(forKey: number)
            let missing = part.places[min(count, part.places.count - 1)]
            let name = plan!.registry.signals[order.signals[missing]].name
            wait?.reply(
                RunFailure(
                    .protocolError, host: directory.name(host),
                    cause: "was asked for \(part.places.count) values and sent \(count); '\(name)' is not among them"))
            return
        }
        for (index, place) in part.places.enumerated() { order.bits[place] = value(index) }
        if awaited[number]?.owed.isEmpty == true { awaited.removeValue(forKey: number)?.reply(nil) }
    }

    /// No more answers come.
    func forgetAwaited() {
        let waits = awaited
        awaited = [:]
        for wait in waits.values { wait.reply(RunFailure(.refused, cause: "the simulation has ended")) }
    }

    // MARK: Between frames

    /// Sleeps as the desk does. While hosts owe values it listens to them, for between frames nothing else does: not in the
    /// last moment before a frame is due, which the next frame's own wait makes up for.
    public func sleep(seen: UInt32, until deadline: UInt64) -> Bool {
        while !awaited.isEmpty, attention == seen, heardAsleep == nil, link != nil {
            let slice = monotonicNow() + Self.listeningNanoseconds
            guard slice + Self.listeningNanoseconds < deadline else { break }
            do {
                if let word = try link!.nextWord(until: slice) { try take(word) }
            } catch is LinkFault {
                // Whoever raised the alarm calls attention.
                break
            } catch {
                heardAsleep = error
                raiseAttention()
            }
        }
        return desk.sleep(seen: seen, until: deadline)
    }
    private static let listeningNanoseconds: UInt64 = 2_000_000
}
