import HermesModel
import HermesSystem

/// Wires against the modules and each other. Bulk wires are held against each other once they are expanded, at start.
struct WiringCheck {
    let findings: Findings

    func check(_ draft: SimulationDraft) {
        let names = draft.modules.map(\.name.value)
        let known = Set(names.map(\.bytes))
        var drivers: [SignalName: SourceLocation] = [:]
        drivers.reserveCapacity(draft.wires.count)
        for wire in draft.wires {
            let isSound = checkStars(wire)
            for (end, location) in [(wire.source, wire.sourceLocation), (wire.destination, wire.destinationLocation)]
            where !known.contains(end.module.bytes) && !end.module.utf8.contains(star) && !draft.modulesAreUnreadable {
                findings.error(
                    location,
                    "unknown module \(quoted(end.module))\(findings.suggestion(for: end.module, among: names))")
            }
            guard isSound else { continue }
            if wire.source == wire.destination {
                findings.error(wire.destinationLocation, "a wire from \(quoted(wire.source.description)) onto itself")
            } else if !wire.isBulk {
                if let first = drivers[wire.destination] {
                    findings.error(
                        wire.destinationLocation,
                        "two wires into \(quoted(wire.destination.description)), the first at \(first.line):\(first.column)"
                    )
                } else {
                    drivers[wire.destination] = wire.destinationLocation
                }
            }
        }
    }

    /// Either no `*` at all, or one on each side, each in the signal's part.
    private func checkStars(_ wire: Wire) -> Bool {
        var isSound = true
        var counts: [Int] = []
        for (end, location) in [(wire.source, wire.sourceLocation), (wire.destination, wire.destinationLocation)] {
            if end.module.utf8.contains(star) {
                findings.error(location, "`*` can't stand for modules; write one wire for each")
                isSound = false
            }
            let count = end.signal.utf8.count { $0 == star }
            if count > 1 {
                findings.error(
                    location, "\(quoted(end.description)) has \(count) `*`; a bulk wire has one on each side")
                isSound = false
            }
            counts.append(count)
        }
        if isSound, counts[0] != counts[1] {
            let location = counts[0] == 0 ? wire.sourceLocation : wire.destinationLocation
            findings.error(location, "a bulk wire has one `*` on each side, and this side has none")
            isSound = false
        }
        return isSound
    }

    private let star = UInt8(ascii: "*")

    init(findings: Findings) {
        self.findings = findings
    }
}
