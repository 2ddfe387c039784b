/// One thing that was looked at on a machine, and whether simulations run well with it.
public struct Finding: Codable, Sendable {
    /// poor: simulations run, but late or not all of them. broken: some can't run at all.
    public enum Verdict: String, Codable, Sendable { case fine, poor, broken }

    public var subject: String
    public var verdict: Verdict
    /// What was found, with its number.
    public var seen: String
    /// What to do about it.
    public var cure: String?

    public static func fine(_ subject: String, _ seen: String) -> Finding {
        Finding(subject: subject, verdict: .fine, seen: seen)
    }
    public static func poor(_ subject: String, _ seen: String, cure: String) -> Finding {
        Finding(subject: subject, verdict: .poor, seen: seen, cure: cure)
    }
    public static func broken(_ subject: String, _ seen: String, cure: String) -> Finding {
        Finding(subject: subject, verdict: .broken, seen: seen, cure: cure)
    }
}

/// `findings`: the answer to `checkup`, what a node found on its machine.
public struct CheckupFindings: Codable, Sendable {
    public var findings: [Finding]
    public init(findings: [Finding]) { self.findings = findings }
}
