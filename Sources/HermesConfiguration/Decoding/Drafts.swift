import HermesModel

/// A configuration as decoded: every value has its type and its place, nothing has been held against anything else yet.
/// What was missing or wrong, and has been reported, is nil.
struct SimulationDraft {
    var name: Located<String>?
    var hosts: [HostDraft] = []
    /// True when `hosts:` or `modules:` could not be read: then nobody can say which names are unknown.
    var hostsAreUnreadable = false
    var modulesAreUnreadable = false
    var modules: [ModuleDraft] = []
    var wires: [Wire] = []
    var execution = ExecutionDraft()
    var server = ServerDraft()
}

struct HostDraft {
    var name: Located<String>
    var endpoint: Located<String>?
    var key: Located<String>?
    /// A key was given, right or wrong.
    var hasKey = false
    var mirror: Located<String>?
    var cpus: Located<[Int]>?
}

struct ModuleDraft {
    var name: Located<String>
    var kind: Module.Kind?
    /// The executable, shared object or script, whichever the kind asks for.
    var program: Located<String>?
    var programKey = "executable"
    var arguments: [String] = []
    var environment: [(name: Located<String>, value: String)] = []
    var workingDirectory: Located<String>?
    var configuration: Located<String>?
    var files: [Located<String>] = []
    var host: Located<String>?
    var rateHz: Located<Double>?
    var startTimeoutSeconds: Double?
    var stepTimeoutSeconds: Double?
    var onError: Located<ErrorPolicy>?
    var cpus: Located<[Int]>?
    var signals: [SignalSettings] = []
}

struct ExecutionDraft {
    var mode: Execution.Mode?
    var rateHz: Located<Double>?
    /// False when a rate was given that can't be used.
    var rateIsUsable = true
    var endTime: Located<Double>?
    var schedule: Located<[[Located<String>]]>?
    var stepTimeoutSeconds: Double?
    var livenessSeconds: Located<Double>?
    var onModuleError: Located<ErrorPolicy>?
    var restartLimit: Located<Int>?
    var mirrors: MirrorTransport?
    var realtime = RealtimeDraft()
    /// Of `realtime`, where given.
    var realtimeMark: Mark?

    /// Nil when the file gives a rate that can't be used.
    var baseRateHz: Double? { rateIsUsable ? rateHz?.value ?? Execution().rateHz : nil }
}

struct RealtimeDraft {
    var onOverrun: OverrunPolicy?
    var graceSeconds: Double?
    var priority: Located<Int>?
    var coordinatorCPUs, nodeCPUs, moduleCPUs: Located<[Int]>?
    var locksMemory: Bool?
    var isRequired: Bool?
}

struct ServerDraft {
    var enabled: Bool?
    var host: Located<String>?
    var port: Located<Int>?
    var telemetryHz: Double?
}
