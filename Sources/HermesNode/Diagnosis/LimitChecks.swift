import Glibc
import HermesProtocol
import HermesSystem

/// What the system lets this user's processes have.
struct LimitChecks {
    let program: String

    var findings: [Finding] { [Self.openFiles, Self.processes, Self.lockedMemory, realtimePriority] }

    /// The soft limit by its name in /proc/self/limits; none counts as unlimited.
    private static func limit(_ name: String) -> UInt {
        for line in SystemLines("/proc/self/limits") where line.hasPrefix(name) {
            return line.dropFirst(name.count).split(separator: " ").first.flatMap { UInt($0) } ?? .max  // ASCII
        }
        return .max
    }

    private static func text(_ value: UInt) -> String { value >= UInt(Int.max) ? "unlimited" : "\(value)" }

    /// Each module takes two FIFOs and two pipes.
    private static var openFiles: Finding {
        let value = limit("Max open files")
        if value < 64 {
            return .broken("open files", text(value), cure: "ulimit -n 4096, or nofile in /etc/security/limits.conf")
        }
        if value < 1024 {
            return .poor(
                "open files", "\(text(value)): about \(value / 6) modules",
                cure: "ulimit -n 4096, or nofile in /etc/security/limits.conf")
        }
        return .fine("open files", text(value))
    }

    private static var processes: Finding {
        let value = limit("Max processes")
        return value < 256
            ? .poor("processes", text(value), cure: "ulimit -u 4096, or nproc in /etc/security/limits.conf")
            : .fine("processes", text(value))
    }

    private static var lockedMemory: Finding {
        let value = limit("Max locked memory")
        return value < 64 << 20 && geteuid() != 0
            ? .poor(
                "locked memory", "\(text(value)) bytes: pages of a realtime run may be swapped out",
                cure: "memlock unlimited in /etc/security/limits.conf, then log in again")
            : .fine("locked memory", text(value))
    }

    private var realtimePriority: Finding {
        var before = sched_param()
        let policy = sched_getscheduler(0)
        sched_getparam(0, &before)
        var wanted = sched_param()
        wanted.sched_priority = 1
        let isAllowed = sched_setscheduler(0, SCHED_FIFO, &wanted) == 0
        if isAllowed { sched_setscheduler(0, policy, &before) }
        return isAllowed
            ? .fine("realtime priority", "allowed")
            : .poor(
                "realtime priority", "not allowed: in realtime mode frames begin late when the machine is busy",
                cure:
                    "rtprio 50 in /etc/security/limits.conf, LimitRTPRIO=50 in a unit, or setcap cap_sys_nice+ep on \(program)"
            )
    }
}
