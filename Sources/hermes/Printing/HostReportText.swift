import HermesProtocol
import HermesSystem

extension HostReport {
    var isReachable: Bool { if case .success = standing { true } else { false } }

    /// A line for each host, then what is to be said of some.
    static func text(_ reports: [HostReport]) -> String {
        var lines: [[String]] = []
        var remarks: [String] = []
        for report in reports {
            switch report.standing {
            case .success(let standing): lines.append(report.cells(standing))
            case .failure: lines.append([report.host.name, report.host.endpoint, "not reached"])
            }
        }
        for report in reports {
            switch report.standing {
            case .success(let standing) where !standing.differences.isEmpty:
                remarks.append(
                    "host \(report.host.name): \(standing.differences.joined(separator: "; ")): exp, sin and their like may "
                        + "differ in the last bits")
            case .failure(let trouble): remarks.append("host \(report.host.name): \(trouble.cause)")
            default: continue
            }
        }
        let table = Table(
            header: ["HOST", "ENDPOINT", "VERSION", "ROUND TRIP", "CLOCK", "CORES", "MEMORY", "RUNNING"], rows: lines)
        return ([table.text] + remarks.map(PrintableText.line)).joined(separator: "\n")
    }

    private func cells(_ standing: Standing) -> [String] {
        let welcome = standing.welcome
        return [
            host.name, host.endpoint, welcome.version, "\(decimals(standing.roundTripSeconds * 1e3, 2)) ms",
            standing.clockText, "\(welcome.cores)", "\(decimals(Double(welcome.memory) / 0x1p30, 1)) GiB",
            welcome.running.isEmpty ? "-" : welcome.running.joined(separator: ", "),
        ]
    }

    static func json(_ reports: [HostReport]) -> JSONValue { ["hosts": .list(reports.map(\.json))] }

    private var json: JSONValue {
        var members = [
            JSONMember(key: "name", value: .text(host.name)),
            JSONMember(key: "endpoint", value: .text(host.endpoint)),
            JSONMember(key: "reachable", value: .bool(isReachable)),
        ]
        switch standing {
        case .failure(let trouble): members.append(JSONMember(key: "cause", value: .text(trouble.cause)))
        case .success(let standing):
            let welcome = standing.welcome
            let machine = welcome.machine
            members += [
                JSONMember(key: "version", value: .text(welcome.version)),
                JSONMember(key: "round_trip_s", value: .double(standing.roundTripSeconds)),
                JSONMember(key: "clock_offset_s", value: .double(standing.clockOffsetSeconds)),
                JSONMember(key: "clock_error_s", value: .double(standing.clockErrorSeconds)),
                JSONMember(key: "cores", value: .integer(welcome.cores)),
                JSONMember(key: "memory", value: .integer(welcome.memory)),
                JSONMember(key: "architecture", value: .text(machine.architecture)),
                JSONMember(key: "processor", value: .text(machine.processor)),
                JSONMember(key: "features", value: .list(machine.features.map { .text($0) })),
                JSONMember(key: "libc", value: .text(machine.libc)),
                JSONMember(key: "differences", value: .list(standing.differences.map { .text($0) })),
                JSONMember(key: "running", value: .list(welcome.running.map { .text($0) })),
            ]
        }
        return .object(members)
    }
}

extension HostReport.Standing {
    /// Of its clock: how far it is ahead, or nothing that can be told from here.
    var clockText: String {
        if abs(clockOffsetSeconds) <= clockErrorSeconds { return "same" }
        let sign = clockOffsetSeconds < 0 ? "-" : "+"
        let size = abs(clockOffsetSeconds)
        return size < 1 ? "\(sign)\(decimals(size * 1e3, size < 0.1 ? 2 : 0)) ms" : "\(sign)\(duration(size))"
    }
}
