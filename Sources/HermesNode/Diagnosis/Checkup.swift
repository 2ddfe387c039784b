import HermesProtocol

/// What a program of Hermes looks at on its machine, in the order it tells.
public enum Checkup {
    /// - Parameters:
    ///   - program: which one asks, for cures that name it.
    ///   - isWanted: asked while it takes its time; false: it ends soon.
    public static func findings(program: String, isWanted: () -> Bool = { true }) -> [Finding] {
        LimitChecks(program: program).findings + SharedMemoryChecks.findings() + ClockChecks.findings()
            + PartChecks(program: program).findings(isWanted: isWanted)
    }
}
