import HermesModel

extension Delivery {
    /// Packs wires: equal types without gain and offset are copied bit for bit, neighbours as runs.
    init(wires: [ResolvedWire], signals: [Signal]) {
        self.init(
            wires.map {
                Conversion(
                    source: $0.source, destination: $0.destination, sourceType: signals[$0.source].type,
                    destinationType: signals[$0.destination].type, gain: $0.gain, offset: $0.offset)
            })
    }

    /// Packs what is to be delivered at one moment.
    init(_ links: [Conversion]) {
        self.init()
        var plain: [Copy] = []
        for link in links {
            if link.sourceType == link.destinationType && link.gain == 1 && link.offset == 0 {
                plain.append(Copy(source: link.source, destination: link.destination))
            } else {
                conversions.append(link)
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
        let destinations = Set(links.map(\.destination))
        isStaged = links.contains { destinations.contains($0.source) }
    }

    /// Below this many neighbours a call of memcpy costs more than single copies.
    private static let shortestRun = 4
}
