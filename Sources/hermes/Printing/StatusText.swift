import HermesModel

extension RunStatus {
    /// Everything about one simulation.
    var text: String {
        var lines = [
            ["simulation", name], ["state", state], ["mode", mode], ["frame", frameText], ["epoch", "\(epoch)"],
            ["time", "\(SignalValue.text(time)) s"], ["rate", "\(SignalValue.text(rateHz)) Hz"],
            ["process", "\(pid)"],
        ]
        lines += modules.enumerated().map { [$0 == 0 ? "modules" : "", $1.text] }
        return Table(header: [], rows: lines).text
    }

    /// A line each.
    static func text(_ all: [RunStatus]) -> String {
        Table(
            header: ["NAME", "STATE", "MODE", "FRAME", "TIME", "MODULES", "PROCESS"],
            rows: all.map {
                [
                    $0.name, $0.state, $0.mode, $0.frameText, "\(SignalValue.text($0.time)) s", "\($0.modules.count)",
                    "\($0.pid)",
                ]
            }
        ).text
    }

    private var frameText: String { "\(frame)" + (frames.map { "/\($0)" } ?? "") }

    var json: JSONValue {
        [
            "name": .text(name), "state": .text(state), "mode": .text(mode), "frame": .integer(frame),
            "frames": frames.map { .integer($0) } ?? .null, "epoch": .integer(epoch), "time": .double(time),
            "rate_hz": .double(rateHz), "pid": .integer(pid),
            "modules": .list(modules.map(\.json)),
        ]
    }
}

extension RunStatus.Module {
    /// `pump: held since frame 7: exited with code 3`
    fileprivate var text: String {
        guard let error = lastError else { return "\(name): \(state)" }
        switch error.action {
        case .held: return "\(name): \(state) since frame \(error.frame): \(error.cause)"
        case .restarted:
            let times = restarts == 1 ? "once" : "\(restarts) times"
            return "\(name): \(state), started again \(times), last at frame \(error.frame): \(error.cause)"
        }
    }

    fileprivate var json: JSONValue {
        let error: JSONValue =
            lastError.map { ["frame": .integer($0.frame), "cause": .text($0.cause)] } ?? .null
        return [
            "name": .text(name), "state": .text(state), "restarts": .integer(UInt64(restarts)), "last_error": error,
        ]
    }
}
