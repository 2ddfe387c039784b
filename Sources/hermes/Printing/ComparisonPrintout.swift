import HermesConfiguration
import HermesModel
import HermesProtocol
import HermesRecorder
import HermesSystem

/// Two runs of one configuration, for people and for programs.
struct ComparisonPrintout {
    enum SecondRun: String { case asPlaced = "as_placed", onOneHost = "one_host" }

    var frames: UInt64
    var reference: ReferenceRun
    /// Those that have modules as placed, the desk first.
    var hosts: [String]
    var second = SecondRun.asPlaced
    var difference: RunComparison.Difference?
    /// Modules that kept the second run from this host.
    var immovable: [Immovable] = []
    /// Why the simulation did not start on this host.
    var failureOnOneHost: String?
    /// Where modules ran, in either run.
    var machines: [(name: String, machine: Machine)] = []
    /// Of a further run as placed, after a difference on one host: how many frames, frame 0 included, were like the first
    /// run's, at most up to that difference.
    var framesRepeated: UInt64?

    private static let mostShown = 10

    // MARK: For people

    var identical: String {
        let placed = second == .onOneHost ? "; as placed on \(hosts.joined(separator: ", ")) and on one host" : ""
        return "identical: \(frames) frames, digest \(reference.digest)\(placed)"
    }

    var different: String {
        guard let difference else { return identical }
        var lines = ["different: frame \(difference.frame) is the first that differs"]
        let (first, second) =
            second == .onOneHost ? ("as placed", "on one host") : ("in the first run", "in the second")
        lines += Self.shown(difference.onlyInFirst.map { "only \(first): \($0)" })
        lines += Self.shown(difference.onlyInSecond.map { "only \(second): \($0)" })
        lines += Self.shown(
            difference.values.map {
                let (one, other) = Self.texts($0)
                return "\($0.name): \(one) \(first), \(other) \(second)"
            })
        if lines.count == 1 {
            lines.append("  its signals can't be named: the values of the first run took too much room to keep")
        }
        return lines.joined(separator: "\n")
    }

    /// Not every bit shows in a number's text: there are many NaN.
    private static func texts(_ value: RunComparison.Difference.Value) -> (first: String, second: String) {
        let (first, second) = (SignalValue.text(value.first, value.type), SignalValue.text(value.second, value.type))
        guard first == second else { return (first, second) }
        func withBits(_ bits: UInt64) -> String { "\(first) (0x\(String(bits, radix: 16)))" }
        return (withBits(value.first), withBits(value.second))
    }

    private static func shown(_ lines: [String]) -> [String] {
        let left = lines.count - mostShown
        return lines.prefix(mostShown).map { "  \(PrintableText.line($0))" } + (left > 0 ? ["  and \(left) more"] : [])
    }

    /// Why the second run is no run on one host.
    var whyAsPlaced: String {
        let reasons =
            failureOnOneHost.map { ["it did not start here: \($0)"] }
            ?? immovable.map { "module \($0.module) of host \($0.host): \($0.reason)" }
        return "the second run is as placed, too, and can't tell what the placement does:\n"
            + reasons.map { "  \(PrintableText.line($0))" }.joined(separator: "\n")
    }

    /// Hosts that compute otherwise; nil where all are alike.
    var machineNote: String? {
        let differences = Machine.differences(among: machines)
        guard !differences.isEmpty else { return nil }
        return """
            The hosts are not alike: libc picks other variants of exp, sin and the like by the CPU, compilers other instructions.
            \(differences.map { "  \(PrintableText.line($0))" }.joined(separator: "\n"))
            """
    }

    /// What can make runs differ, beginning with what is known.
    var reasons: String {
        var paragraphs: [String] = []
        let isOfPrograms = difference.map { !$0.onlyInFirst.isEmpty || !$0.onlyInSecond.isEmpty } ?? false
        if isOfPrograms {
            paragraphs.append("The modules announced other signals in the second run: their programs are not the same.")
        } else if let framesRepeated, let difference {
            paragraphs.append(
                framesRepeated > difference.frame
                    ? "Placed as before, a third run gave the first one's values again: the hosts make the difference. Compare "
                        + "the modules' files there and here, what they read on their host, and versions of libraries."
                    : "Placed as before, a third run differed too, at frame \(framesRepeated): it is not the placement."
            )
        }
        if let machineNote { paragraphs.append(machineNote) }
        if !isOfPrograms {
            paragraphs.append(
                """
                Modules give other outputs for equal inputs when they read the wall clock, draw random numbers without a fixed
                seed, leave results to the timing of threads or the order of addresses, read memory they never initialised,
                or are set by a free script.
                """)
        }
        return paragraphs.joined(separator: "\n")
    }

    // MARK: For programs

    var json: JSONValue {
        [
            "identical": .bool(difference == nil), "frames": .integer(frames),
            "digest": difference == nil ? .text(reference.digest) : .null,
            "second_run": .text(second.rawValue), "first_difference": difference.map(json) ?? .null,
            "repeats_as_placed": framesRepeated.map { .bool($0 > difference?.frame ?? 0) } ?? .null,
            "kept_from_one_host": .list(
                immovable.map {
                    ["module": .text($0.module), "host": .text($0.host), "reason": .text($0.reason)]
                }),
            "failure_on_one_host": failureOnOneHost.map { .text($0) } ?? .null,
            "hosts": .list(
                machines.map {
                    [
                        "name": .text($0.name), "architecture": .text($0.machine.architecture),
                        "processor": .text($0.machine.processor), "libc": .text($0.machine.libc),
                        "features": .list($0.machine.features.map { .text($0) }),
                    ]
                }),
            "host_differences": .list(Machine.differences(among: machines).map { .text($0) }),
            "free_scripts": .list(reference.freeModules.map { .text($0) }),
        ]
    }

    private func json(_ difference: RunComparison.Difference) -> JSONValue {
        [
            "frame": .integer(difference.frame),
            "signals": .list(
                difference.values.map {
                    [
                        "name": .text($0.name), "first": .signal($0.first, $0.type),
                        "second": .signal($0.second, $0.type),
                    ]
                }),
            "only_in_first": .list(difference.onlyInFirst.map { .text($0) }),
            "only_in_second": .list(difference.onlyInSecond.map { .text($0) }),
        ]
    }
}
