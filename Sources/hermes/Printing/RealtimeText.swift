import HermesModel
import HermesProtocol

/// What became of `execution.realtime`, for people: a line of what was had, and one for each thing that was not.
enum RealtimeText {
    static func tell(_ report: RealtimeReport, _ console: Console) {
        for line in refusals(report) + report.cautions { console.warning("realtime: \(line)") }
        if let line = summary(report) { console.note("realtime: \(line)") }
    }

    /// What threads have of what they were asked for; nil where nothing was asked.
    static func summary(_ report: RealtimeReport) -> String? {
        let asked = report.threads.filter { !$0.asked.isEmpty }
        if asked.isEmpty { return nil }
        func words(_ role: String, _ name: String) -> String? {
            let threads = asked.filter { $0.role == role }.compactMap(\.found)
            if threads.isEmpty { return nil }
            func each<Value: Hashable>(_ value: (RealtimeThread.Found) -> Value) -> [Value] {
                threads.map(value).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
            }
            let priorities = each { $0.policy == "fifo" ? "SCHED_FIFO \($0.priority)" : "ordinary priority" }
            let cpus = each { CPUList.text($0.cpus) }
            return "\(name) \(priorities.joined(separator: " and ")) on CPU \(cpus.joined(separator: "; "))"
        }
        let locked = asked.filter { $0.asked.lock_memory }.compactMap { $0.found?.locked_bytes }
        let memory = locked.isEmpty || locked.contains(0) ? nil : "memory locked"
        let found = [words("frames", "frames"), words("messages", "messages"), words("steps", "modules"), memory]
        return found.compactMap { $0 }.joined(separator: ", ")
    }

    /// Who lacks the same for the same reason stands in one line.
    static func refusals(_ report: RealtimeReport) -> [String] {
        var lines: [(host: String, text: String, who: [String])] = []
        for thread in report.threads {
            let name = thread.name
            for text in thread.refused {
                if let same = lines.firstIndex(where: { $0.host == thread.host && $0.text == text }) {
                    lines[same].who.append(name)
                } else {
                    lines.append((thread.host, text, [name]))
                }
            }
        }
        return lines.map { line in
            let more = line.who.count > 6 ? " and \(line.who.count - 6) more, each" : ""
            return "host \(line.host): \(line.who.prefix(6).joined(separator: ", "))\(more) \(line.text)"
        }
    }
}
