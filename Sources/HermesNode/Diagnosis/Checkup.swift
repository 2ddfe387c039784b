import HermesProtocol

/// What a program of Hermes looks at on its machine, in the order it tells.
public enum Checkup {
    /// - Parameter program: which one asks, for cures that name it.
    public static func findings(program: String) -> [Finding] {
        LimitChecks(program: program).findings + SharedMemoryChecks.findings() + ClockChecks.findings()
            + PartChecks(program: program).findings
    }
}
