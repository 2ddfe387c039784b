import HermesModel

extension Delivery {
    /// Packs wires: equal types without gain and offset are copied bit for bit, neighbours as runs.
    init(wires: [ResolvedWire], signals: [Signal]) {
        self.init()
        var plain: [Copy] = []
        for wire in wires {
            let from = signals[wire.source].type, to = signals[wire.destination].type
            if from == to && wire.gain == 1 && wire.offset == 0 {
                plain.append(Copy(source: wire.source, destination: wire.destination))
            } else {
                conversions.append(
                    Conversion(
                        source: wire.source, destination: wire.destination, sourceType: from, destinationType: to,
                        gain: wire.gain, offset: wire.offset))
            }
        }
        // No two wires share a destination, so the order inside a delivery changes nothing but speed.
        plain.sort { ($0.source, $0.destination) < ($1.source, $1.destination) }
        var start = 0
        while start < plain.count {
            var end = start + 1
            while end < plain.count && plain[end].source == plain[start].source + (end - start)
                && plain[end].destination == plain[start].destination + (end - start)
            {
                end += 1
            }
            if end - start >= Self.shortestRun {
                runs.append(
                    Run(source: plain[start].source, destination: plain[start].destination, count: end - start))
            } else {
                copies += plain[start..<end]
            }
            start = end
        }
        let destinations = Set(wires.map(\.destination))
        isStaged = wires.contains { destinations.contains($0.source) }
    }

    /// Below this many neighbours a call of memcpy costs more than single copies.
    private static let shortestRun = 4
}
