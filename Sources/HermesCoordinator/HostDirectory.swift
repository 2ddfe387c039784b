import HermesModel
import HermesSystem
import HermesTransport

/// The hosts of a run and how they reach each other. The desk has index 0; the others follow in the order of `hosts:`.
struct HostDirectory {
    /// Named hosts that have modules.
    let hosts: [Host]
    /// Pairs of indices, the earlier first, that mirror signals.
    let pairs: [(first: Int, second: Int)]

    init(_ simulation: Simulation) {
        let placed = Set(simulation.modules.map(\.host))  // ASCII
        hosts = simulation.hosts.filter { placed.contains($0.name) }
        var indices: [String: Int] = [:]  // ASCII
        for (index, host) in hosts.enumerated() { indices[host.name] = index + 1 }
        let hostOf = Dictionary(
            simulation.modules.map { ($0.name.bytes, $0.host.flatMap { indices[$0] } ?? 0) },
            uniquingKeysWith: { first, _ in first })
        var found: Set<[Int]> = []
        for wire in simulation.wires {
            let ends = [hostOf[wire.source.module.bytes] ?? 0, hostOf[wire.destination.module.bytes] ?? 0].sorted()
            if ends[0] != ends[1] { found.insert(ends) }
        }
        pairs = found.sorted { ($0[0], $0[1]) < ($1[0], $1[1]) }.map { (first: $0[0], second: $0[1]) }
    }

    /// The desk included.
    var count: Int { hosts.count + 1 }
    func index(_ name: String) -> Int { hosts.firstIndex { $0.name == name }.map { $0 + 1 } ?? 0 }  // ASCII
    func name(_ index: Int) -> String { index == 0 ? "desk" : hosts[index - 1].name }

    /// Pairs of which one is to dial an address that only its own machine knows.
    func unreachable() -> [Diagnostic] {
        pairs.filter { $0.first > 0 }.compactMap { pair in
            let dialled = hosts[pair.first - 1], dialler = hosts[pair.second - 1]
            let address = dialled.mirror ?? dialled.endpoint
            guard Self.isLocal(address), !Self.isLocal(dialler.endpoint) else { return nil }
            return Diagnostic(
                .error, at: dialled.location,
                "host \(dialled.name) mirrors signals with host \(dialler.name), which can't reach it at \(address); give "
                    + "\(dialled.name) a `mirror:` address of its network")
        }
    }

    private static func isLocal(_ endpoint: String) -> Bool {
        let local: [ByteString] = ["ipc://", "tcp://127.", "tcp://localhost:", "tcp://[::1]"]
        return local.contains(where: endpoint.bytes.hasPrefix)
    }

    /// Where a peer dials the run's link of a host that listens on `port` or `path`.
    static func endpoint(_ base: String, port: Int?, path: ByteString?) -> ByteString {
        if let path { return "ipc://\(path)" }
        return "tcp://\(TCPEndpoint(base)?.host ?? base):\(port ?? 0)"
    }
}
