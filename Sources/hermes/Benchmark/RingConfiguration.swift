import HermesModel

/// The configuration of one shape, as text for `hermes run`.
struct RingConfiguration {
    var shape: BenchmarkShape
    var name: String
    /// Where its modules go; none: to the desk.
    var hosts: [Host]
    var warmUp: Int
    var mode: Execution.Mode
    var rateHz: Int
    /// What carries signals between hosts.
    var mirrors: MirrorTransport

    /// - Parameter program: as the node or the desk finds it.
    func text(program: String) -> String {
        let places = hosts.isEmpty ? [nil] : hosts.map { Optional($0) }
        var lines = ["version: \"0.2\"", "name: \(name)"]
        if !hosts.isEmpty {
            lines.append("hosts:")
            lines += hosts.map { host in
                let key = host.key.map { ", key: \(quoted($0))" } ?? ""
                let mirror = host.mirror.map { ", mirror: \(quoted($0))" } ?? ""
                return "  \(quoted(host.name)): { endpoint: \(quoted(host.endpoint))\(key)\(mirror) }"
            }
        }
        lines.append("modules:")
        for (h, host) in places.enumerated() {
            for m in 0..<shape.modules {
                let tells = m > 0 ? 0 : h > 0 ? 1 : 2
                let place = host.map { ", host: \(quoted($0.name))" } ?? ""
                lines.append(
                    "  m\(h)_\(m): { type: process, executable: \(quoted(program))\(place), "
                        + "args: [\"\(shape.signals)\", \"\(1 + 1000 * h + m)\", \"\(warmUp)\", \"\(tells)\"] }")
            }
        }
        lines.append("wiring:")
        for h in places.indices {
            for m in 0..<shape.modules {
                let next =
                    places.count == 1 ? "m0_\((m + 1) % shape.modules)" : "m\((h + 1) % places.count)_\(m)"
                lines.append("  - { src: m\(h)_\(m).own.*, dst: \(next).in.* }")
            }
        }
        let all = places.indices.flatMap { h in (0..<shape.modules).map { "m\(h)_\($0)" } }
        lines.append("execution:")
        lines.append("  mode: \(mode.rawValue)")
        lines.append("  rate_hz: \(rateHz)")
        lines.append("  mirrors: \(mirrors.rawValue)")
        lines.append("  schedule: [[\(all.joined(separator: ", "))]]")
        return lines.joined(separator: "\n") + "\n"
    }

    /// JSON's quotes are YAML's.
    private func quoted(_ text: String) -> String { JSONValue.text(text).description }
}
