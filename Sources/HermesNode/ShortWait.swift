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
    static func least(groups: ByteString, root: ByteString) -> Double? {
        let colon = UInt8(ascii: ":")
        return lines(of: groups).flatMap { line -> [Double] in
            // "4:cpu,cpuacct:/a/b", or "0::/a/b" for all controllers at once (cgroups(7)).
            guard let (controllers, path) = line.divided(at: colon)?.behind.divided(at: colon) else { return [] }
            let isUnified = controllers.isEmpty
            guard isUnified || controllers.split(at: UInt8(ascii: ",")).contains("cpu") else { return [] }
            return ancestors(of: path).compactMap { isUnified ? unified(root + $0) : legacy("\(root)/cpu\($0)") }
        }.min()
    }

    /// "/a/b" itself, "/a" and "".
    private static func ancestors(of path: ByteString) -> [ByteString] {
        path.pathComponents.reduce(into: [.empty]) { places, name in places.append("\(places.last!)/\(name)") }
    }

    /// "max 100000" or "50000 100000": of so many microseconds.
    private static func unified(_ folder: ByteString) -> Double? {
        let words = lines(of: folder + "/cpu.max").first?.split(at: UInt8(ascii: " ")) ?? []
        let numbers = words.map { $0.text.flatMap { Double($0) } }
        guard numbers.count == 2, let quota = numbers[0], let period = numbers[1], period > 0 else { return nil }
        return quota / period
    }

    private static func legacy(_ folder: ByteString) -> Double? {
        func number(_ file: ByteString) -> Double? { lines(of: folder + file).first?.text.flatMap { Double($0) } }
        guard let quota = number("/cpu.cfs_quota_us"), quota > 0, let period = number("/cpu.cfs_period_us"), period > 0
        else { return nil }
        return quota / period
    }

    private static func lines(of path: ByteString) -> [ByteString] {
        (try? ByteString(contentsOf: path))?.split(at: UInt8(ascii: "\n")) ?? []
    }
}
