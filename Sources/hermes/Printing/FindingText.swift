extension Finding {
    static func text(_ findings: [Finding]) -> String {
        let words: [Verdict: String] = [.fine: "ok", .poor: "!", .broken: "BROKEN"]
        let lines = findings.flatMap { finding -> [[String]] in
            let line = [words[finding.verdict]!, finding.subject, finding.seen]
            guard let cure = finding.cure else { return [line] }
            return [line, ["", "", "-> \(cure)"]]
        }
        return Table(header: [], rows: lines).text
    }

    static func json(_ findings: [Finding]) -> JSONValue {
        [
            "healthy": .bool(!findings.contains { $0.verdict == .broken }),
            "findings": .list(
                findings.map {
                    [
                        "subject": .text($0.subject), "verdict": .text($0.verdict.rawValue), "seen": .text($0.seen),
                        "cure": $0.cure.map { .text($0) } ?? .null,
                    ]
                }),
        ]
    }
}
