import HermesProtocol
import HermesSystem

extension MachineCheckup {
    var text: String {
        if hosts.isEmpty { return Finding.text(here) }
        let parts = hosts.map { checkup -> String in
            let title = "\n\(checkup.host.name), \(checkup.host.endpoint)\n"
            switch checkup.findings {
            case .success(let findings): return title + Finding.text(findings)
            case .failure(let trouble): return title + PrintableText.line("BROKEN  not reached  \(trouble.cause)")
            }
        }
        return (["this machine\n" + Finding.text(here)] + parts).joined(separator: "\n")
    }

    /// This machine's findings where they always were, hosts beside them.
    var json: JSONValue {
        var members = [
            JSONMember(key: "healthy", value: .bool(isHealthy)), JSONMember(key: "findings", value: Finding.json(here)),
        ]
        if !hosts.isEmpty { members.append(JSONMember(key: "hosts", value: .list(hosts.map(\.json)))) }
        return .object(members)
    }
}

extension HostCheckup {
    fileprivate var json: JSONValue {
        switch findings {
        case .success(let findings):
            [
                "name": .text(host.name), "endpoint": .text(host.endpoint), "reachable": .bool(true),
                "findings": Finding.json(findings),
            ]
        case .failure(let trouble):
            [
                "name": .text(host.name), "endpoint": .text(host.endpoint), "reachable": .bool(false),
                "cause": .text(trouble.cause),
            ]
        }
    }
}

extension Finding {
    fileprivate static func text(_ findings: [Finding]) -> String {
        let words: [Verdict: String] = [.fine: "ok", .poor: "!", .broken: "BROKEN"]
        let lines = findings.flatMap { finding -> [[String]] in
            let line = [words[finding.verdict]!, finding.subject, finding.seen]
            guard let cure = finding.cure else { return [line] }
            return [line, ["", "", "-> \(cure)"]]
        }
        return Table(header: [], rows: lines).text
    }

    fileprivate static func json(_ findings: [Finding]) -> JSONValue {
        .list(
            findings.map {
                [
                    "subject": .text($0.subject), "verdict": .text($0.verdict.rawValue), "seen": .text($0.seen),
                    "cure": $0.cure.map { .text($0) } ?? .null,
                ]
            })
    }
}
