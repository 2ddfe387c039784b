import CHermes
import Glibc
import HermesModel
import HermesNode

/// The signals of a running simulation on this host alone, through its segment.
struct SegmentSignals: SignalSource {
    let name: String
    private let segment: SegmentClient
    private var client: OpaquePointer { segment.pointer }

    /// Seconds to the next frame edge before a frame counts as stuck.
    private static let edgeSeconds = 30.0

    /// - Throws: `RunFailure` when the simulation is staging or over.
    init(of name: String) throws {
        self.name = name
        guard let segment = SegmentClient(opening: RunFolder.segmentName(of: name)) else {
            let code = errno
            guard RunningSimulation.isRunning(name) else { throw RunningSimulation.ended(name) }
            // Without a segment its modules have not announced yet.
            if code == EAGAIN || code == ENOENT { throw RunningSimulation.staging(name) }
            throw Self.lastError()
        }
        self.segment = segment
        guard hermes_client_state(segment.pointer) != UInt32(HERMES_STATE_ENDED) else {
            throw RunningSimulation.ended(name)
        }
    }

    var all: [LiveSignal] { (0..<hermes_client_count(client)).map { signal(at: $0) } }

    func signal(named name: String) throws -> LiveSignal {
        let index = hermes_client_find(client, name)
        guard index >= 0 else { throw Self.lastError() }
        return signal(at: UInt32(index))
    }

    private func signal(at index: UInt32) -> LiveSignal {
        var info = hermes_signal_info()
        hermes_client_info(client, index, &info)
        return LiveSignal(
            index: index,
            listing: SignalListing(
                name: String(cString: info.name), type: SignalType(rawValue: UInt8(info.type)) ?? .f64,
                unit: String(cString: info.unit), isWritable: info.flags & HERMES_SIGNAL_WRITABLE != 0,
                isPublished: info.flags & HERMES_SIGNAL_PUBLISHED != 0, isWired: info.wired != 0,
                summary: String(cString: info.description)))
    }

    var isPaused: Bool { hermes_client_state(client) == UInt32(HERMES_STATE_PAUSED) }

    func sample(_ signals: [LiveSignal]) throws -> (frame: UInt64, time: Double, bits: [UInt64]) {
        var bits = [UInt64](repeating: 0, count: signals.count)
        var frame: UInt64 = 0
        var time = 0.0
        let code = hermes_client_sample(
            client, signals.map(\.index), signals.count, &bits, &frame, &time, Self.edgeSeconds)
        if code == ESHUTDOWN { throw RunningSimulation.ended(name) }
        guard code == 0 else { throw Self.lastError() }
        return (frame, time, bits)
    }

    func set(_ values: [(signal: LiveSignal, bits: UInt64)]) throws {
        let code = hermes_client_set_bits(client, values.map(\.signal.index), values.map(\.bits), values.count)
        if code == ESHUTDOWN { throw RunningSimulation.ended(name) }
        guard code == 0 else { throw Self.lastError() }
    }

    private static func lastError() -> any Error {
        RunningSimulation.failure(String(cString: hermes_last_error()))
    }
}

/// A segment opened as a client, closed once: when the last that holds this object lets go of it. It has no other close, so
/// that an initialiser which throws closes nothing twice.
private final class SegmentClient {
    let pointer: OpaquePointer

    /// Nil with errno and `hermes_last_error` as `hermes_client_open` leaves them.
    init?(opening name: String) {
        guard let pointer = hermes_client_open(name) else { return nil }
        self.pointer = pointer
    }

    deinit { hermes_client_close(pointer) }
}
