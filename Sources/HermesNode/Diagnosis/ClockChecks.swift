import Glibc
import HermesProtocol
import HermesSystem

/// What realtime depends on.
enum ClockChecks {
    static func findings() -> [Finding] { [processors, governor, source, synchronisation].compactMap { $0 } }

    private static var processors: Finding {
        let count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        return count < 2
            ? .poor("processors", "\(count): modules of a phase take turns", cure: "use a machine with more")
            : .fine("processors", "\(count)")
    }

    private static var governor: Finding {
        guard let governor = SystemLines.first(of: "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") else {
            return .fine("CPU governor", "none to be seen: a virtual machine, or a fixed frequency")
        }
        return governor == "performance"
            ? .fine("CPU governor", governor)
            : .poor(
                "CPU governor", "\(governor): frames take longer after a pause",
                cure: "cpupower frequency-set -g performance")
    }

    private static var source: Finding? {
        guard let source = SystemLines.first(of: "/sys/devices/system/clocksource/clocksource0/current_clocksource")
        else {
            return nil
        }
        // Those that a process reads without a call of the kernel.
        let isFast = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"].contains(source)
        return isFast
            ? .fine("clock source", source)
            : .poor(
                "clock source", "\(source): reading the time is slow",
                cure: "boot with clocksource=tsc where it is stable")
    }

    private static var synchronisation: Finding {
        // <sys/timex.h> is not among the headers Swift sees; asked for nothing, the call only says how the clock is.
        typealias Call = @convention(c) (UnsafeMutableRawPointer) -> Int32
        guard let symbol = dlsym(nil, "adjtimex") else { return .fine("clock", "unknown") }
        let unsynchronised: Int32 = 5
        let state = UnsafeMutableRawPointer.allocate(byteCount: 1024, alignment: 16)
        state.initializeMemory(as: UInt8.self, repeating: 0, count: 1024)
        defer { state.deallocate() }
        let answer = unsafeBitCast(symbol, to: Call.self)(state)
        // A service that may not set the clock may not ask either.
        guard answer >= 0 else { return .fine("clock", "unknown: this process may not ask") }
        return answer != unsynchronised
            ? .fine("clock", "synchronised")
            : .poor(
                "clock", "not synchronised: logs of several hosts don't line up",
                cure: "run chrony or systemd-timesyncd")
    }
}
