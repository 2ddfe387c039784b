import HermesProtocol
import HermesTiming

/// A run's timeline, of all hosts on the desk's clock, as Chrome trace-event JSON, which Perfetto opens: a process a host, in it a
/// thread for the coordinator, one for the node and one for each module.
public struct RunTrace: Sendable {
    private struct Entry {
        /// Nanoseconds since the first.
        var begin: UInt64
        var length: UInt64
        var order: Int
        var text: [UInt8]
    }
    private struct Exchange: Hashable {
        var host: String
        var epoch: UInt32
        var frame: UInt64
        var phase: UInt32
    }
    private enum Track {
        static let coordinator = 1, node = 2, firstModule = 10
    }

    private let parts: [TracedHost]
    private let coordinator: [TraceEvent]
    private let coordinatorLost: UInt64
    private let participants: [String]

    /// - Parameter participants: names by index, the desk first.
    init(_ parts: [TracedHost], coordinator ring: TraceRing, participants: [String]) {
        self.parts = parts
        coordinator = ring.events
        coordinatorLost = ring.lost
        self.participants = participants
    }

    /// The whole file.
    public func json() -> [UInt8] {
        var clocks = parts.map(\.clock)
        let events = parts.map(\.trace.events)
        let known = zip(clocks, events).flatMap { clock, events -> [UInt64] in
            clock.isKnown ? events.map { clock.here($0.begin) } : []
        }
        let start = min(known.min() ?? .max, coordinator.map(\.begin).min() ?? .max)
        for index in clocks.indices where !clocks[index].isKnown {
            // Nothing better is known than that it began with the others.
            guard start != .max, let first = events[index].map(\.begin).min() else { continue }
            clocks[index].add(asked: start, there: first, heard: start)
        }

        var entries: [Entry] = []
        var exchanges: [Exchange: UInt64] = [:]
        for (part, (clock, events)) in zip(parts, zip(clocks, events)) {
            for event in events where event.kind == TraceEvent.Kind.exchange.rawValue {
                exchanges[
                    Exchange(host: part.trace.host, epoch: event.epoch, frame: event.frame, phase: event.detail)] =
                    clock.here(event.begin)
            }
        }
        var flows = 0
        for (index, (clock, events)) in zip(clocks, events).enumerated() {
            let trace = parts[index].trace
            for event in events {
                let begin = sinceStart(clock.here(event.begin), start)
                let end = max(begin, sinceStart(clock.here(event.end), start))
                add(event, begin, end, process: index + 1, trace, to: &entries)
                guard event.kind == TraceEvent.Kind.mirror.rawValue,
                    trace.participants.indices.contains(Int(event.subject))
                else { continue }
                let sender = trace.participants[Int(event.subject)]
                guard let process = parts.firstIndex(where: { $0.trace.host == sender }),
                    let sent = exchanges[
                        Exchange(host: sender, epoch: event.epoch, frame: event.frame, phase: event.detail)]
                else { continue }
                flows += 1
                addFlow(
                    flows, from: (process + 1, sinceStart(sent, start)),
                    to: (index + 1, max(begin, end &- min(end, 1), sinceStart(sent, start))),
                    to: &entries)
            }
        }
        let desk = HostTrace(host: "desk", modules: [], participants: participants, [], lost: 0)
        for event in coordinator {
            add(
                event, sinceStart(event.begin, start), sinceStart(event.end, start), process: 1, desk,
                track: Track.coordinator, to: &entries)
        }
        // A slice before those within it.
        entries.sort {
            ($0.begin, UInt64.max - $0.length, $0.order) < ($1.begin, UInt64.max - $1.length, $1.order)
        }
        var text = TraceText()
        text.raw("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"overwritten\":{")
        for (index, part) in parts.enumerated() {
            text.raw(index > 0 ? "," : "")
            text.quoted(part.trace.host)
            text.raw(":\(part.trace.lost)")
        }
        text.raw(parts.isEmpty ? "" : ",")
        text.raw("\"coordinator\":\(coordinatorLost)}},\"traceEvents\":[\n")
        var isFirst = true
        func line(_ bytes: [UInt8]) {
            text.raw(isFirst ? "" : ",\n")
            isFirst = false
            text.bytes += bytes
        }
        for name in names() { line(name) }
        for entry in entries { line(entry.text) }
        text.raw("\n]}\n")
        return text.bytes
    }

    private func sinceStart(_ moment: UInt64, _ start: UInt64) -> UInt64 { moment > start ? moment - start : 0 }

    /// Who the processes and threads are.
    private func names() -> [[UInt8]] {
        var lines: [[UInt8]] = []
        func name(_ what: String, _ process: Int, _ track: Int?, _ value: String) {
            var text = TraceText()
            text.raw("{\"ph\":\"M\",\"name\":\"\(what)\",\"pid\":\(process),")
            if let track { text.raw("\"tid\":\(track),") }
            text.raw("\"args\":{\"name\":")
            text.quoted(value)
            text.raw("}}")
            lines.append(text.bytes)
        }
        let hasDesk = parts.first?.trace.host == "desk"
        if !hasDesk { name("process_name", 1, nil, "desk") }
        name("thread_name", 1, Track.coordinator, "coordinator")
        for (index, part) in parts.enumerated() {
            let process = index + 1
            name("process_name", process, nil, part.trace.host + (part.clock.isKnown ? "" : " (clock not known)"))
            name("thread_name", process, Track.node, "node")
            for (module, own) in part.trace.modules.enumerated() {
                name("thread_name", process, Track.firstModule + module, own)
            }
        }
        return lines
    }

    private func add(
        _ event: TraceEvent, _ begin: UInt64, _ end: UInt64, process: Int, _ trace: HostTrace, track: Int? = nil,
        to entries: inout [Entry]
    ) {
        let kind = TraceEvent.Kind(rawValue: event.kind)!
        let subject = Int(event.subject)
        var text = TraceText(), thread = track ?? Track.node, isInstant = false
        func participant() -> String {
            trace.participants.indices.contains(subject) ? trace.participants[subject] : "?"
        }
        switch kind {
        case .frame: text.slice("frame")
        case .step, .wait:
            thread = Track.firstModule + subject
            text.slice(kind == .wait ? "wait" : event.detail == 1 ? "step, never ended" : "step")
        case .exchange: text.slice("exchange")
        case .mirror: text.slice("mirror \(participant())")
        case .stepMessage, .doneMessage:
            isInstant = true
            let verb =
                track == Track.coordinator
                ? (kind == .stepMessage ? "to" : "from") : kind == .stepMessage ? "from" : "to"
            text.instant("\(kind == .stepMessage ? "step" : "done") \(verb) \(participant())")
        case .advance: text.slice("advance")
        case .observe: text.slice("observers")
        case .pace: text.slice("sleep")
        }
        text.raw(",\"pid\":\(process),\"tid\":\(thread),\"ts\":")
        text.microseconds(begin)
        if !isInstant {
            text.raw(",\"dur\":")
            text.microseconds(end - begin)
        }
        text.raw(",\"args\":{\"frame\":\(event.frame)")
        if event.epoch > 0 { text.raw(",\"epoch\":\(event.epoch)") }
        switch kind {
        case .exchange, .mirror: text.raw(",\"phase\":\(event.detail)")
        case .stepMessage, .doneMessage, .advance: text.raw(",\"frames\":\(event.detail)")
        default: break
        }
        text.raw("}}")
        entries.append(Entry(begin: begin, length: end - begin, order: entries.count, text: text.bytes))
    }

    /// An arrow from a host's exchange to the end of another's wait for its values.
    private func addFlow(
        _ number: Int, from: (process: Int, at: UInt64), to: (process: Int, at: UInt64), to entries: inout [Entry]
    ) {
        for (phase, place) in [("\"s\"", from), ("\"f\",\"bp\":\"e\"", to)] {
            var text = TraceText()
            text.raw(
                "{\"ph\":\(phase),\"name\":\"mirror\",\"cat\":\"mirror\",\"id\":\(number),\"pid\":\(place.process),"
                    + "\"tid\":\(Track.node),\"ts\":")
            text.microseconds(place.at)
            text.raw("}")
            // Behind the slice that it leaves.
            entries.append(Entry(begin: place.at, length: 0, order: entries.count, text: text.bytes))
        }
    }
}

/// Pieces of JSON.
private struct TraceText {
    var bytes: [UInt8] = []

    mutating func raw(_ text: String) { bytes += text.utf8 }

    mutating func slice(_ name: String) {
        raw("{\"ph\":\"X\",\"name\":")
        quoted(name)
    }

    mutating func instant(_ name: String) {
        raw("{\"ph\":\"i\",\"s\":\"t\",\"name\":")
        quoted(name)
    }

    /// Of nanoseconds, all of them.
    mutating func microseconds(_ nanoseconds: UInt64) {
        let rest = nanoseconds % 1000
        raw("\(nanoseconds / 1000).\(rest < 10 ? "00" : rest < 100 ? "0" : "")\(rest)")
    }

    /// Names come from configurations and hosts; what JSON can't have in a text becomes a blank.
    mutating func quoted(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { bytes.append(UInt8(ascii: "\\")) }
            bytes.append(byte < 32 ? 32 : byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
