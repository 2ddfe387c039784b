import CHermes
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

// Realtime orders, applied and read back: for the thread that runs the frames here, for modules by libhermes.

extension RealtimeWish {
    var wish: hermes_realtime_wish {
        var wish = hermes_realtime_wish()
        wish.priority = Int32(priority ?? 0)
        wish.lock_memory = lock_memory ? 1 : 0
        wish.has_cpus = cpus == nil ? 0 : 1
        withUnsafeMutableBytes(of: &wish.cpus) { bits in
            for cpu in cpus ?? [] where CPUList.range.contains(cpu) { bits[cpu / 8] |= 1 << (cpu % 8) }
        }
        return wish
    }

    /// The value of HERMES_REALTIME; nil for a module of which nothing is asked.
    var variable: String? {
        if isEmpty { return nil }
        let parts = [
            priority.map { "priority=\($0)" }, lock_memory ? "lock_memory" : nil,
            cpus.map { "cpus=" + $0.map(String.init).joined(separator: ",") },
        ]
        return parts.compactMap { $0 }.joined(separator: " ")
    }
}

extension RealtimeThread {
    private static let policies = ["other", "fifo", "rr", "batch", "iso", "idle", "deadline"]

    /// - Parameter isWholeProcess: false where memory and timers are told of with another thread.
    init(
        host: String, module: String?, role: String, asked: RealtimeWish, _ seen: hermes_realtime_found,
        isWholeProcess: Bool = true
    ) {
        let policy = Int(seen.policy)
        let found = Found(
            policy: Self.policies.indices.contains(policy) ? Self.policies[policy] : "\(policy)",
            priority: Int(seen.priority), cpus: withUnsafeBytes(of: seen.cpus) { cpuNumbers($0) },
            locked_bytes: isWholeProcess ? Int(clamping: seen.locked_bytes) : nil,
            timer_slack_ns: isWholeProcess ? Int(clamping: seen.timer_slack_ns) : nil, thread: Int(seen.thread))
        self.init(
            host: host, module: module, role: role, asked: asked, found: found,
            refused: Self.refused(
                asked, found, priorityError: seen.priority_error, cpusError: seen.cpus_error,
                memoryError: seen.memory_error))
    }

    /// What was asked and is not so, with its cure. The errors are errno values, 0 for none.
    static func refused(
        _ asked: RealtimeWish, _ found: Found, priorityError: Int32, cpusError: Int32, memoryError: Int32
    ) -> [String] {
        func why(_ error: Int32) -> String { error == 0 ? "" : " (\(String(cString: strerror(error))))" }
        var refused: [String] = []
        if let priority = asked.priority, found.policy != "fifo" || found.priority != priority {
            let has = found.priority == 0 ? "ordinary scheduling" : "priority \(found.priority)"
            refused.append(
                "has \(has), not SCHED_FIFO priority \(priority)\(why(priorityError)); allow it with `@realtime - rtprio 95` in "
                    + "/etc/security/limits.conf for a group of this user, LimitRTPRIO=95 in a unit, or CAP_SYS_NICE")
        }
        if let cpus = asked.cpus, found.cpus != cpus {
            refused.append(
                "may run on CPU \(CPUList.text(found.cpus)), not on \(CPUList.text(cpus))\(why(cpusError)); its container, cpuset "
                    + "or unit (AllowedCPUs=) must have them")
        }
        if asked.lock_memory, memoryError != 0 {
            refused.append(
                "has memory that may be swapped out\(why(memoryError)); allow it with `@realtime - memlock unlimited` in "
                    + "/etc/security/limits.conf for a group of this user, LimitMEMLOCK=infinity in a unit, or CAP_IPC_LOCK"
            )
        }
        return refused
    }
}

extension EmbeddedNode {
    /// CPUs that this machine lacks can't be had by any permission.
    func checkCPUs() throws {
        guard let realtime else { return }
        let online = OnlineCPUs.numbers
        var asked: [(module: String?, cpus: [Int]?)] = [(nil, realtime.frames.cpus)]
        for (module, wish) in zip(simulation.modules, realtime.modules) { asked.append((module.name, wish.cpus)) }
        for (module, cpus) in asked {
            guard let missing = cpus?.first(where: { !online.contains($0) }) else { continue }
            throw RunFailure(
                .refused, module: module, host: hostName,
                cause: "there is no CPU \(missing) on this host; it has \(CPUList.text(online))")
        }
    }

    /// Last before the first frame: what is started from here on has ordinary scheduling, but the CPUs of its parent.
    public func keepTime() -> RealtimeReport {
        guard let realtime else { return RealtimeReport() }
        var seen = hermes_realtime_found()
        var wish = realtime.frames.wish
        hermes_realtime_apply(&wish, &seen)
        var report = RealtimeReport(
            threads: [RealtimeThread(host: hostName, module: nil, role: "frames", asked: realtime.frames, seen)])
        report.threads += messageThreads(realtime.frames)
        for (index, asked) in realtime.modules.enumerated() where !asked.isEmpty && processes[index] != nil {
            if plan!.modules[index].isFree { continue }
            report.threads.append(moduleThread(index, asked))
        }
        if realtime.frames.priority != nil { report.cautions = RealtimeCautions.here.map { "host \(hostName) \($0)" } }
        return report
    }

    /// Libzmq's own, where other hosts take part: what they carry comes no sooner than they run.
    private func messageThreads(_ asked: RealtimeWish) -> [RealtimeThread] {
        let asked = RealtimeWish(priority: asked.priority, cpus: asked.cpus)
        if asked.isEmpty { return [] }
        var wish = asked.wish
        var all: [hermes_realtime_found] = []
        withUnsafeMutablePointer(to: &all) { all in
            hermes_realtime_apply_to(
                "ZMQbg/IO", &wish,
                { found, all in
                    all!.assumingMemoryBound(to: [hermes_realtime_found].self).pointee.append(found!.pointee)
                },
                all)
        }
        return all.map {
            RealtimeThread(host: hostName, module: nil, role: "messages", asked: asked, $0, isWholeProcess: false)
        }
    }

    /// What a module's libhermes said ahead of its answer to stage.
    private func moduleThread(_ index: Int, _ asked: RealtimeWish) -> RealtimeThread {
        let name = simulation.modules[index].name
        guard let seen = record(index, { $0.realtime }) else {
            return RealtimeThread(
                host: hostName, module: name, role: "steps", asked: asked, found: nil,
                refused: ["does not say what it made of it; build it with this version's libhermes"])
        }
        return RealtimeThread(host: hostName, module: name, role: "steps", asked: asked, seen)
    }
}

/// What makes realtime priorities dangerous on this machine.
enum RealtimeCautions {
    static var here: [String] { cautions(cores: OnlineCPUs.numbers.count, throttleMicroseconds: throttle) }

    static func cautions(cores: Int, throttleMicroseconds: Int?) -> [String] {
        var cautions: [String] = []
        if cores == 1 {
            cautions.append(
                "has one CPU: a module that computes for long holds up everything else on it, this program too; use realtime "
                    + "priorities where there are two or more")
        }
        if let throttleMicroseconds, throttleMicroseconds < 0 {
            cautions.append(
                "has a kernel that lets realtime threads run for ever (sched_rt_runtime_us is -1): a module that does not come "
                    + "back takes its CPU with it; `sysctl kernel.sched_rt_runtime_us=950000` keeps a part for others")
        }
        return cautions
    }

    /// Microseconds that realtime threads may take of each second; nil where the kernel does not say.
    private static var throttle: Int? {
        SystemLines.first(of: "/proc/sys/kernel/sched_rt_runtime_us").flatMap { Int($0) }
    }
}
