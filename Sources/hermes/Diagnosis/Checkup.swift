/// What `hermes doctor` looks at, in the order it tells.
enum Checkup {
    static func findings() -> [Finding] {
        LimitChecks.findings() + SharedMemoryChecks.findings() + ClockChecks.findings() + PartChecks.findings()
    }
}
