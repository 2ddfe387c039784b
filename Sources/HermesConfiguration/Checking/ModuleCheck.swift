import HermesModel

/// Modules against their hosts and the base rate, and the variables they ask for.
struct ModuleCheck {
    let findings: Findings

    func check(_ draft: SimulationDraft) {
        let hosts = draft.hosts.map(\.name.value)
        let known = Set(hosts)
        for module in draft.modules {
            if let host = module.host, !known.contains(host.value), !draft.hostsAreUnreadable {
                let near = findings.suggestion(for: host.value, among: hosts)
                findings.error(
                    host.mark,
                    "unknown host \(quoted(host.value))\(near.isEmpty ? "; list it under `hosts`, or leave `host` out to run here" : near)"
                )
            }
            checkEnvironment(module)
            if let rate = module.rateHz, let base = draft.execution.baseRateHz { check(rate, against: base) }
        }
    }

    private func check(_ rate: Located<Double>, against base: Double) {
        guard StepInterval.frames(rateHz: rate.value, baseRateHz: base) == nil else { return }
        guard rate.value <= base else {
            findings.error(
                rate.mark, "`rate_hz` \(rate.value) is above the base rate \(base); a module steps at most once a frame"
            )
            return
        }
        let ratio = base / rate.value
        guard ratio <= StepInterval.longest else {
            findings.error(rate.mark, "`rate_hz` \(rate.value) is too far below the base rate \(base)")
            return
        }
        let near = base / ratio.rounded()
        findings.error(
            rate.mark, "`rate_hz` \(rate.value) does not divide the base rate \(base); the nearest that does is \(near)"
        )
    }

    private func checkEnvironment(_ module: ModuleDraft) {
        for (name, _) in module.environment {
            if !Self.isVariable(name.value) {
                findings.error(
                    name.mark,
                    "\(quoted(name.value)) is no name of an environment variable: letters, digits and _, no digit first"
                )
            } else if module.host != nil, let prefix = ConfiguredVariables.neverPrefix(of: name.value) {
                findings.error(
                    name.mark,
                    "\(quoted(name.value)): a node takes no `\(prefix)*` variables from a configuration; set it where the node is started"
                )
            }
        }
    }

    static func isVariable(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return NameCheck.isIdentifierText(name) && !name.utf8.contains(UInt8(ascii: "-"))
    }
}
