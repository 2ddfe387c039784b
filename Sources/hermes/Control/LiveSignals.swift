import CHermes
import Glibc
import HermesModel
import HermesNode

/// The signals of a running simulation, through its segment.
final class LiveSignals {
    struct Signal {
        var index: UInt32
        var listing: SignalListing
        var name: String { listing.name }
        var type: SignalType { listing.type }
    }

    let name: String
    private let client: OpaquePointer

    /// Seconds to the next frame edge before a frame counts as stuck.
    private static let edgeSeconds = 30.0

    /// - Throws: `RunFailure` when the simulation is staging or over.
    init(of name: String) throws {
        self.name = name
        guard let client = hermes_client_open(RunFolder.segmentName(of: name)) else {
            let code = errno
            guard RunningSimulation.isRunning(name) else { throw RunningSimulation.ended(name) }
            // Without a segment its modules have not announced yet.
            if code == EAGAIN || code == ENOENT { throw RunningSimulation.staging(name) }
            throw Self.lastError()
        }
        self.client = client
        guard hermes_client_state(client) != UInt32(HERMES_STATE_ENDED) else {
            hermes_client_close(client)
            throw RunningSimulation.ended(name)
        }
    }

    deinit { hermes_client_close(client) }

    var all: [Signal] { (0..<hermes_client_count(client)).map { signal(at: $0) } }

    /// - Throws: `RunFailure` naming a near one when there is no such signal.
    func signal(named name: String) throws -> Signal {
        let index = hermes_client_find(client, name)
        guard index >= 0 else { throw Self.lastError() }
        return signal(at: UInt32(index))
    }

    /// Signals by name and by pattern, each once, in the order asked for; those of a pattern ordered by name.
    /// - Throws: `RunFailure` for whatever matches nothing.
    func signals(matching wanted: [String]) throws -> [Signal] {
        var found: [Signal] = []
        var seen: Set<UInt32> = []
        for text in wanted {
            let matches: [Signal]
            if let pattern = NamePattern(text) {
                matches = all.filter { pattern.matches($0.name) }.sorted { $0.listing < $1.listing }
                guard !matches.isEmpty else { throw RunningSimulation.failure("no signal matches '\(text)'") }
            } else {
                matches = [try signal(named: text)]
            }
            found += matches.filter { seen.insert($0.index).inserted }
        }
        return found
    }

    private func signal(at index: UInt32) -> Signal {
        var info = hermes_signal_info()
        hermes_client_info(client, index, &info)
        return Signal(
            index: index,
            listing: SignalListing(
                name: String(cString: info.name), type: SignalType(rawValue: UInt8(info.type)) ?? .f64,
                unit: String(cString: info.unit), isWritable: info.flags & HERMES_SIGNAL_WRITABLE != 0,
                isPublished: info.flags & HERMES_SIGNAL_PUBLISHED != 0, isWired: info.wired != 0,
                summary: String(cString: info.description)))
    }

    var isPaused: Bool { hermes_client_state(client) == UInt32(HERMES_STATE_PAUSED) }

    /// Values of one frame.
    func sample(_ signals: [Signal]) throws -> (frame: UInt64, time: Double, bits: [UInt64]) {
        var bits = [UInt64](repeating: 0, count: signals.count)
        var frame: UInt64 = 0
        var time = 0.0
        let code = hermes_client_sample(
            client, signals.map(\.index), signals.count, &bits, &frame, &time, Self.edgeSeconds)
        if code == ESHUTDOWN { throw RunningSimulation.ended(name) }
        guard code == 0 else { throw Self.lastError() }
        return (frame, time, bits)
    }

    /// Queues values that the next frame begins with, all together.
    /// - Throws: `RunFailure` when one of them is refused; then none is applied.
    func set(_ values: [(signal: Signal, bits: UInt64)]) throws {
        let code = hermes_client_set_bits(client, values.map(\.signal.index), values.map(\.bits), values.count)
        if code == ESHUTDOWN { throw RunningSimulation.ended(name) }
        guard code == 0 else { throw Self.lastError() }
    }

    private static func lastError() -> any Error {
        RunningSimulation.failure(String(cString: hermes_last_error()))
    }
}

/// A name with stars, each standing for any text.
struct NamePattern {
    private let parts: [Substring]

    /// Nil for a text without a star.
    init?(_ text: String) {
        guard text.contains("*") else { return nil }
        parts = text.split(separator: "*", omittingEmptySubsequences: false)
    }

    func matches(_ name: String) -> Bool {
        var rest = name.utf8[...]
        let first = parts.first!.utf8
        let last = parts.last!.utf8
        guard rest.count >= first.count + last.count, rest.starts(with: first),
            rest.suffix(last.count).elementsEqual(last)
        else { return false }
        rest = rest.dropFirst(first.count).dropLast(last.count)
        // Between the stars the earliest place is as good as any.
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            let wanted = part.utf8
            guard
                let place = rest.indices.first(where: { rest[$0...].starts(with: wanted) })
            else { return false }
            rest = rest[rest.index(place, offsetBy: wanted.count)...]
        }
        return true
    }
}
