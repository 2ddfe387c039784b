import HermesModel
import HermesSystem

/// How things may be called.
struct NameCheck {
    let findings: Findings

    func check(_ draft: SimulationDraft) {
        if let name = draft.name, !Self.isIdentifier(name.value) {
            findings.error(name.mark, "a simulation's name is 1 to 64 of A-Z a-z 0-9 _ -, not \(quoted(name.value))")
        }
        for host in draft.hosts where !Self.isIdentifier(host.name.value) {
            findings.error(
                host.name.mark, "a host's name is 1 to 64 of A-Z a-z 0-9 _ -, not \(quoted(host.name.value))")
        }
        for module in draft.modules { check(module) }
    }

    private func check(_ module: ModuleDraft) {
        let name = module.name
        if name.value.isEmpty {
            findings.error(name.mark, "a module's name is empty")
        } else if name.value.utf8.contains(UInt8(ascii: ".")) {
            findings.error(
                name.mark,
                "module name \(quoted(name.value)) holds a dot; the first dot of a signal's name ends its module's")
        } else if name.value.utf8.contains(UInt8(ascii: "*")) {
            findings.error(
                name.mark, "module name \(quoted(name.value)) holds a `*`, which stands for many signals in bulk wires")
        } else if name.value.unicodeScalars.contains(where: isControl) {
            findings.error(name.mark, "module name \(quoted(name.value)) holds a control character")
        } else if name.value.utf8.count > Self.moduleNameLimit {
            findings.error(name.mark, "module name \(quoted(name.value)) is longer than \(Self.moduleNameLimit) bytes")
        }
        var first: [ByteString: Mark] = [:]
        for signal in module.signals {
            let mark = Mark(line: signal.location.line, column: signal.location.column)
            if let earlier = first[signal.name.bytes] {
                findings.error(
                    mark, "signal \(quoted(signal.name)) is listed twice, first at \(earlier.line):\(earlier.column)")
            } else {
                first[signal.name.bytes] = mark
            }
        }
    }

    /// In bytes.
    static let moduleNameLimit = 255

    static func isIdentifier(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count) && isIdentifierText(name)
    }

    /// ASCII letters, digits, `_` and `-`, however many.
    static func isIdentifierText(_ name: String) -> Bool {
        name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }
}
