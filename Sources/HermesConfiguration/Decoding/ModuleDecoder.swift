import HermesModel

/// One entry of `modules:`.
struct ModuleDecoder {
    let findings: Findings

    func decode(_ entry: Node.Entry) -> ModuleDraft {
        var draft = ModuleDraft(name: Located(value: entry.key, mark: entry.keyMark))
        let module = "module \(quoted(entry.key))"
        guard let fields = Fields(entry.value, .module, of: module, findings: findings) else { return draft }
        draft.kind = fields.choice("type", among: [Module.Kind.process, .inproc, .script])?.value
        if fields.lacks("type") {
            findings.error(entry.keyMark, "\(module) has no `type`; it is `process`, `inproc` or `script`")
        }
        decodeProgram(fields, module, into: &draft)
        draft.arguments = arguments(fields)
        draft.environment = environment(fields)
        draft.workingDirectory = fields.text("working_dir")
        draft.configuration = fields.text("config")
        draft.files = files(fields)
        draft.host = fields.text("host")
        draft.rateHz = fields.number("rate_hz", .positive)
        draft.startTimeoutSeconds = fields.number("start_timeout_s", .notNegative)?.value
        draft.stepTimeoutSeconds = fields.number("step_timeout_s", .notNegative)?.value
        draft.onError = fields.choice("on_module_error", among: ErrorPolicy.allCases)
        draft.cpus = fields.cpus("cpus")
        draft.signals = SignalDecoder(findings: findings).decode(fields.sequence("signals") ?? [])
        warnOfIdleKeys(fields, draft.kind)
        return draft
    }

    /// `script` for scripts, `executable` for the others; both texts are read whatever the type, so that each is checked.
    private func decodeProgram(_ fields: Fields, _ module: String, into draft: inout ModuleDraft) {
        let executable = fields.text("executable")
        let script = fields.text("script")
        guard let kind = draft.kind else { return }
        let (wanted, other) = kind == .script ? ("script", "executable") : ("executable", "script")
        draft.program = kind == .script ? script : executable
        draft.programKey = wanted
        if let mark = fields.keyMark(other) {
            let remedy =
                kind == .script
                ? "write `script`, or `type: process` for a program"
                : "write `executable`, or `type: script` for a script"
            findings.error(mark, "`\(other)` does not belong to a module of `type: \(kind.rawValue)`; \(remedy)")
        } else if fields.lacks(wanted) {
            let noun =
                switch kind {
                case .process: "the program to start"
                case .inproc: "the shared object to load"
                case .script: "the script to run"
                }
            findings.error(draft.name.mark, "\(module) has no `\(wanted)`; name \(noun)")
        }
    }

    private func arguments(_ fields: Fields) -> [String] {
        (fields.sequence("args") ?? []).enumerated().compactMap { index, node in
            fields.anyScalar(node, named: "argument \(index + 1) of `args`")
        }
    }

    private func files(_ fields: Fields) -> [Located<String>] {
        (fields.sequence("files") ?? []).enumerated().compactMap { index, node in
            fields.text(node, named: "path \(index + 1) of `files`")
        }
    }

    private func environment(_ fields: Fields) -> [(name: Located<String>, value: String)] {
        (fields.mapping("env") ?? []).compactMap { entry in
            guard let value = fields.anyScalar(entry.value, named: "\(quoted(entry.key)) in `env`") else { return nil }
            return (Located(value: entry.key, mark: entry.keyMark), value)
        }
    }

    /// A shared object in the node has no command line, environment or folder of its own.
    private func warnOfIdleKeys(_ fields: Fields, _ kind: Module.Kind?) {
        guard kind == .inproc else { return }
        for key in ["args", "env", "working_dir"] {
            if let mark = fields.keyMark(key) {
                findings.warning(mark, "`\(key)` has no effect on a module of `type: inproc`: it runs inside its node")
            }
        }
    }
}
