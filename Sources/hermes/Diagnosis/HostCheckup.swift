import HermesModel
import HermesNode
import HermesProtocol
import HermesSystem

/// What was found on a host: by its node, and from here.
struct HostCheckup: Sendable {
    /// For a node to look at its machine.
    private static let seconds = 30.0

    var host: Host
    var findings: Result<[Finding], HostTrouble>

    /// Asks all at once.
    static func all(_ hosts: [Host], keyFile: ByteString?) throws -> [HostCheckup] {
        if hosts.isEmpty { return [] }
        let calls = try HostCalls(hosts, keyFile: keyFile)
        defer { calls.close() }
        let here = ThisMachine.machine
        let results = calls.each { call -> [Finding] in
            let standing = try HostReport.Standing(call, here)
            let there: CheckupFindings = try call.ask("checkup", ControlMessage.Nothing(), seconds: seconds)
            return DeskChecks.findings(of: standing) + there.findings
        }
        return zip(hosts, results).map { HostCheckup(host: $0, findings: $1) }
    }
}

/// What was found on this machine and on hosts.
struct MachineCheckup {
    var here: [Finding]
    var hosts: [HostCheckup]

    var isHealthy: Bool {
        let all = [here] + hosts.compactMap { try? $0.findings.get() }
        return all.count == hosts.count + 1 && !all.joined().contains { $0.verdict == .broken }
    }
}
