import CHermes
import HermesSystem

/// How long threads that wait for each other may stay awake (CHermes/spin.h) on this machine.
enum ShortWait {
    /// - Parameters:
    ///   - threads: that take part in a frame.
    ///   - cpus: that this process may use.
    ///   - quota: CPUs' worth of time; nil: no bound.
    ///   - hasPriority: of a realtime thread, who gives its core to none that is less urgent, be it the one it waits for.
    /// - Returns: 0 for not at all, also where a quota would be spent on it: who has used it up stands still for tens of
    ///   milliseconds.
    static func nanoseconds(
        threads: Int, cpus: Int = Int(hermes_usable_cpus()), quota: Double? = CPUQuota.current, hasPriority: Bool
    ) -> UInt32 {
        if hasPriority { return 0 }
        if let quota, Double(min(threads, cpus)) > quota { return 0 }
        return hermes_spin_length(UInt32(clamping: threads), UInt32(clamping: cpus))
    }
}

/// CPUs' worth of time that a control group lets this process have.
enum CPUQuota {
    /// The least of all groups that it is in; nil without any.
    static var current: Double? { least(groups: "/proc/self/cgroup", root: "/sys/fs/cgroup") }

    /// - Parameters:
    ///   - groups: a file, one line a hierarchy.
    ///   - root: the folder where they are mounted.
    static func least(groups: String, root: String) -> Double? {
        SystemLines(groups).flatMap { line -> [Double] in
            // "4:cpu,cpuacct:/a/b", or "0::/a/b" for all controllers at once (cgroups(7)).
            let words = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard words.count == 3 else { return [] }
            let isUnified = words[1].isEmpty
            guard isUnified || words[1].split(separator: ",").contains("cpu") else { return [] }
            return ancestors(of: String(words[2])).compactMap {
                isUnified ? unified(root + $0) : legacy(root + "/cpu" + $0)
            }
        }.min()
    }

    /// "/a/b" itself, "/a" and "".
    private static func ancestors(of path: String) -> [String] {
        let names = path.split(separator: "/")
        return (0...names.count).map { names.prefix($0).map { "/" + $0 }.joined() }
    }

    /// "max 100000" or "50000 100000": of so many microseconds.
    private static func unified(_ folder: String) -> Double? {
        let numbers = (SystemLines.first(of: folder + "/cpu.max") ?? "").split(separator: " ").map { Double($0) }
        guard numbers.count == 2, let quota = numbers[0], let period = numbers[1], period > 0 else { return nil }
        return quota / period
    }

    private static func legacy(_ folder: String) -> Double? {
        guard let quota = SystemLines.first(of: folder + "/cpu.cfs_quota_us").flatMap({ Double($0) }), quota > 0,
            let period = SystemLines.first(of: folder + "/cpu.cfs_period_us").flatMap({ Double($0) }), period > 0
        else { return nil }
        return quota / period
    }
}
