import HermesConfiguration
import HermesModel
import HermesNode
import HermesProtocol

/// What only the machine of `hermes` needs, and what it can see of nodes from there.
enum DeskChecks {
    /// Where a node listens if nobody says otherwise.
    private static let port = 7600

    static func findings() -> [Finding] { [.fine("libyaml", YAMLLibrary.version), node] }

    private static var node: Finding {
        let subject = "port \(port)"
        guard PortChecks.listening.contains(port) else { return .fine(subject, "free: no hermes-node here") }
        let host = Host(
            name: "here", endpoint: "tcp://127.0.0.1:\(port)", location: SourceLocation(file: "", line: 0, column: 0))
        guard let calls = try? HostCalls([host], keyFile: nil) else { return .fine(subject, "somebody listens") }
        defer { calls.close() }
        switch calls.each({ $0.welcome.version })[0] {
        case .success(hermesVersion): return .fine(subject, "hermes-node \(hermesVersion) answers")
        case .success(let version):
            return .poor(
                subject, "hermes-node \(version) answers, this is \(hermesVersion)", cure: "install the same version")
        case .failure:
            return .fine(subject, "taken: by a hermes-node with keys, on another address, or by something else")
        }
    }

    /// A host that answers, as it looks from here.
    static func findings(of standing: HostReport.Standing) -> [Finding] {
        [version(standing.welcome), roundTrip(standing), clock(standing), machine(standing)]
    }

    private static func version(_ welcome: Welcome) -> Finding {
        let isKnown = welcome.oldestProtocol <= protocolVersion && oldestProtocolVersion <= welcome.protocolVersion
        let cure = "install the same version on both"
        if !isKnown {
            return .broken("version", "\(welcome.version): does not understand this \(hermesVersion)", cure: cure)
        }
        return welcome.version == hermesVersion
            ? .fine("version", welcome.version)
            : .poor("version", "\(welcome.version), this is \(hermesVersion)", cure: cure)
    }

    private static func roundTrip(_ standing: HostReport.Standing) -> Finding {
        let seen = "\(decimals(standing.roundTripSeconds * 1e3, 2)) ms"
        return standing.roundTripSeconds > 0.01
            ? .poor(
                "round trip", "\(seen): a frame that waits for this host takes as long",
                cure: "use a network without detours, by cable")
            : .fine("round trip", seen)
    }

    private static func clock(_ standing: HostReport.Standing) -> Finding {
        let isNear = abs(standing.clockOffsetSeconds) <= 0.1 + standing.clockErrorSeconds
        return isNear
            ? .fine("clock from here", standing.clockText)
            : .poor(
                "clock from here", "\(standing.clockText): times in its logs don't match those here",
                cure: "run chrony or systemd-timesyncd on both")
    }

    private static func machine(_ standing: HostReport.Standing) -> Finding {
        standing.differences.isEmpty
            ? .fine("kind of machine", "\(standing.welcome.machine.architecture), \(standing.welcome.machine.libc)")
            : .poor(
                "kind of machine",
                "\(standing.differences.joined(separator: "; ")): exp, sin and their like may differ in the last bits",
                cure: "for the same bits everywhere use machines of one kind; `hermes verify` tells whether it matters")
    }
}
