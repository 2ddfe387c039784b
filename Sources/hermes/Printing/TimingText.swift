import HermesCoordinator
import HermesModel

/// Where the time of a run's frames went, in two lines for people.
enum TimingText {
    static func lines(_ timing: RunTiming) -> [String] {
        var lines: [String] = []
        if let frame = timing.frame {
            let parts = [
                ("execute", timing.execute), ("wait", timing.wait), ("network", timing.network),
                ("coordinator", timing.coordinator),
            ].compactMap { name, part in part.map { "\(name) \(SignalValue.text($0.p50))" } }
            lines.append(
                "a frame took p50 \(SignalValue.text(frame.p50)) us, p99 \(SignalValue.text(frame.p99)) us, "
                    + "max \(SignalValue.text(frame.max)) us; p50 of its parts: " + parts.joined(separator: ", "))
        }
        if let worst = timing.worst_frame { lines.append(text(worst, isOfOneHost: timing.network != nil)) }
        if !timing.missing_hosts.isEmpty {
            lines.append("not told of where its time went: host \(timing.missing_hosts.joined(separator: ", "))")
        }
        return lines
    }

    /// - Parameter isOfOneHost: over several hosts each has its own time for a frame, which `frame` is not the maximum of.
    private static func text(_ worst: RunTiming.WorstFrame, isOfOneHost: Bool) -> String {
        let place = worst.module.map { "module \($0) on host \(worst.host)" } ?? "host \(worst.host)"
        let cause =
            switch worst.part {
            case .execute: "the step of \(place)"
            case .wait: "wake-ups and delivery on host \(worst.host)"
            case .network: "waiting for host \(worst.host)"
            case .coordinator: "the coordinator itself"
            }
        let epoch = worst.epoch > 0 ? " of epoch \(worst.epoch)" : ""
        let longest = isOfOneHost && worst.part != .coordinator ? "the longest on one host" : "the longest"
        return
            "\(longest) was frame \(worst.frame)\(epoch), \(SignalValue.text(worst.time_us)) us, most of it \(cause)"
    }
}
