import HermesModel

/// What is asked of one thread and its process in a realtime run. Nil or false: as it is.
public struct RealtimeWish: Codable, Sendable, Equatable {
    /// SCHED_FIFO, 1 to 99.
    public var priority: Int?
    /// By number, in order.
    public var cpus: [Int]?
    /// Of the whole process, now and to come.
    public var lock_memory: Bool

    public init(priority: Int? = nil, cpus: [Int]? = nil, lock_memory: Bool = false) {
        self.priority = priority
        self.cpus = cpus
        self.lock_memory = lock_memory
    }

    public var isEmpty: Bool { priority == nil && cpus == nil && !lock_memory }

    /// Whether it can be asked of any machine.
    public var isSound: Bool {
        priority.map(Realtime.priorities.contains) != false
            && cpus.map { !$0.isEmpty && $0.count <= CPUList.range.count && $0.allSatisfy(CPUList.range.contains) }
                != false
    }
}

/// `realtime` of `launch`: what a host is to do for a realtime run once its modules have staged.
public struct RealtimeOrder: Codable, Sendable {
    /// For the thread that runs the frames, and those that carry its messages.
    public var frames: RealtimeWish
    /// For each module that was launched, in that order; those inside the node and free scripts have none.
    public var modules: [RealtimeWish]

    public init(frames: RealtimeWish, modules: [RealtimeWish]) {
        self.frames = frames
        self.modules = modules
    }

    /// - Parameter host: nil for the desk, whose frames run on the thread that paces them.
    /// - Returns: nil for a run in another mode.
    public init?(_ simulation: Simulation, host: String?) {
        guard simulation.execution.mode == .realtime else { return nil }
        let realtime = simulation.execution.realtime
        let own = simulation.hosts.first { $0.name == host }?.cpus  // ASCII
        let frameCPUs = host == nil ? realtime.coordinatorCPUs : own ?? realtime.nodeCPUs
        frames = RealtimeWish(
            priority: realtime.priority, cpus: frameCPUs?.numbers, lock_memory: realtime.locksMemory)
        modules = simulation.modules.filter { $0.host == host }.map {
            Self.wish(of: $0, hostCPUs: own, realtime: realtime)
        }
    }

    /// What one module's thread is to be like.
    /// - Parameter hostCPUs: `cpus:` of its host, where given.
    public static func wish(of module: Module, hostCPUs: CPUList?, realtime: Realtime) -> RealtimeWish {
        guard module.kind != .inproc else { return RealtimeWish() }
        return RealtimeWish(
            priority: realtime.modulePriority, cpus: (module.cpus ?? hostCPUs ?? realtime.moduleCPUs)?.numbers,
            lock_memory: realtime.locksMemory)
    }

    public var isEmpty: Bool { frames.isEmpty && modules.allSatisfy(\.isEmpty) }
}

/// What was asked of one thread of a run, and what it has, as the system says.
public struct RealtimeThread: Codable, Sendable {
    public struct Found: Codable, Sendable, Equatable {
        /// `other`, `fifo`, `rr`, `batch`, `idle` or `deadline`.
        public var policy: String
        public var priority: Int
        public var cpus: [Int]
        /// Nil for threads whose process is told of elsewhere.
        public var locked_bytes: Int?
        public var timer_slack_ns: Int?
        /// The thread's number in its process's /proc/PID/task.
        public var thread: Int

        public init(
            policy: String, priority: Int, cpus: [Int], locked_bytes: Int?, timer_slack_ns: Int?, thread: Int
        ) {
            self.policy = policy
            self.priority = priority
            self.cpus = cpus
            self.locked_bytes = locked_bytes
            self.timer_slack_ns = timer_slack_ns
            self.thread = thread
        }
    }

    public var host: String
    /// Nil for threads of coordinator and node.
    public var module: String?
    /// `frames` runs the frames, at the desk it also paces them; `messages` carries messages of other hosts; `steps` makes a
    /// module's steps.
    public var role: String
    public var asked: RealtimeWish
    /// Nil for a module that did not say.
    public var found: Found?
    /// Each a sentence without the place: what was asked and is not so, and what to do about it.
    public var refused: [String]

    /// For people, ahead of what was refused.
    public var name: String {
        module.map { "module \($0)" } ?? (role == "frames" ? "the frames' thread" : "a thread for messages")
    }

    public init(
        host: String, module: String?, role: String, asked: RealtimeWish, found: Found?, refused: [String]
    ) {
        self.host = host
        self.module = module
        self.role = role
        self.asked = asked
        self.found = found
        self.refused = refused
    }
}

/// `applied`: what became of `realtime` on a host, and what may come of it. And the same of all hosts.
public struct RealtimeReport: Codable, Sendable {
    public var threads: [RealtimeThread]
    /// What a person should know of these machines before they rely on it, a sentence each.
    public var cautions: [String]

    public init(threads: [RealtimeThread] = [], cautions: [String] = []) {
        self.threads = threads
        self.cautions = cautions
    }
}
