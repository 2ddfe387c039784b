/// One thing `hermes doctor` looked at.
struct Finding {
    /// poor: simulations run, but late or not all of them. broken: some can't run at all.
    enum Verdict: String { case fine, poor, broken }

    var subject: String
    var verdict: Verdict
    /// What was found, with its number.
    var seen: String
    /// What to do about it.
    var cure: String?

    static func fine(_ subject: String, _ seen: String) -> Finding {
        Finding(subject: subject, verdict: .fine, seen: seen)
    }
    static func poor(_ subject: String, _ seen: String, cure: String) -> Finding {
        Finding(subject: subject, verdict: .poor, seen: seen, cure: cure)
    }
    static func broken(_ subject: String, _ seen: String, cure: String) -> Finding {
        Finding(subject: subject, verdict: .broken, seen: seen, cure: cure)
    }
}
