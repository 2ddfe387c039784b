import CHermes
import HermesModel

/// Prints chosen signals of a running simulation, all of one frame, through its segment.
final class SignalPrinter {
    private let client: OpaquePointer
    private var signals: [(name: String, index: UInt32, type: SignalType)] = []

    /// Nil until the simulation has staged.
    init?(segment: String, names: [String]) {
        guard let client = hermes_client_open(segment) else { return nil }
        self.client = client
        for name in names {
            let index = hermes_client_find(client, name)
            var info = hermes_signal_info()
            guard index >= 0, hermes_client_info(client, UInt32(index), &info) == 0 else { return nil }
            signals.append((name, UInt32(index), SignalType(rawValue: UInt8(info.type)) ?? .f64))
        }
    }

    deinit { hermes_client_close(client) }

    /// Nil when no frame ended in time.
    func line() -> String? {
        var bits = [UInt64](repeating: 0, count: signals.count)
        var frame: UInt64 = 0
        var time = 0.0
        guard hermes_client_sample(client, signals.map(\.index), signals.count, &bits, &frame, &time, 0.5) == 0 else {
            return nil
        }
        return LastValues.line(time: time, zip(signals, bits).map { ($0.name, $1, $0.type) })
    }
}
