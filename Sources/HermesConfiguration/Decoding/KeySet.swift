/// The keys each kind of mapping may have: the reader's whole vocabulary. `docs/hermes.schema.json` has the same.
struct KeySet {
    /// For messages: "in a wire".
    var owner: String
    var keys: [String]

    static let simulation = KeySet(
        owner: "a configuration", keys: ["version", "name", "hosts", "modules", "wiring", "execution", "server"])
    static let host = KeySet(owner: "a host", keys: ["endpoint", "key", "mirror", "cpus"])
    static let module = KeySet(
        owner: "a module",
        keys: [
            "type", "executable", "script", "args", "env", "working_dir", "config", "files", "host", "rate_hz",
            "start_timeout_s", "step_timeout_s", "on_module_error", "cpus", "signals",
        ])
    static let signal = KeySet(owner: "a signal", keys: ["name", "type", "unit", "writable", "published"])
    static let wire = KeySet(owner: "a wire", keys: ["src", "dst", "gain", "offset"])
    static let execution = KeySet(
        owner: "`execution`",
        keys: [
            "mode", "rate_hz", "end_time", "schedule", "step_timeout_s", "liveness_timeout_s", "on_module_error",
            "restart_limit", "mirrors", "realtime",
        ])
    static let realtime = KeySet(
        owner: "`realtime`", keys: ["on_overrun", "grace_s", "priority", "cpus", "lock_memory", "required"])
    static let realtimeCPUs = KeySet(owner: "`cpus` of `realtime`", keys: ["coordinator", "node", "modules"])
    static let server = KeySet(owner: "`server`", keys: ["enabled", "host", "port", "telemetry_hz"])
}
