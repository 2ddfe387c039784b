import Glibc
import HermesProtocol
import HermesSystem

/// Where a node listens, and where its runs may.
public enum PortChecks {
    /// Ports somebody listens on here, in this network namespace.
    public static var listening: Set<Int> {
        var ports: Set<Int> = []
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            for line in SystemLines(table) {
                // Number, local ADDRESS:PORT in hexadecimal, remote one, state: 0A listens.
                let words = line.split(separator: " ", maxSplits: 4)  // ASCII
                guard words.count > 3, words[3] == "0A", let port = words[1].split(separator: ":").last else {  // ASCII
                    continue
                }
                Int(port, radix: 16).map { _ = ports.insert($0) }
            }
        }
        return ports
    }

    /// - Parameter ports: for runs, one each.
    static func runs(_ ports: ClosedRange<Int>) -> Finding {
        let taken = listening
        let free = ports.count { !taken.contains($0) }
        let seen = "\(free) of \(ports.count) free, \(ports.lowerBound) to \(ports.upperBound)"
        let cure = "end what listens there, or widen --ports (and what firewalls pass)"
        if free == 0 { return .broken("run ports", seen, cure: cure) }
        return free < 3 ? .poor("run ports", seen, cure: cure) : .fine("run ports", seen)
    }
}
