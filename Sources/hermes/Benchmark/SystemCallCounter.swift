import Glibc
import HermesProtocol

/// Counts the system calls of frames in runs of their own, beside those that are timed.
enum SystemCallCounter: String {
    /// By the kernel's tracepoint: the frames run as ever.
    case perf
    /// By stopping at every call: frames take many times as long, and wait where they would not have to.
    case strace

    /// What works here; nil: neither does.
    static func here(_ bench: BenchmarkPlace) throws -> SystemCallCounter? {
        for counter in [perf, strace] {
            let child = try BenchmarkChild(
                counter.command("\(bench.folder.path)/calls") + ["true"], called: counter.rawValue, bench)
            if try child.finish(withinSeconds: 20).status == 0, counter.count(bench.folder.read("calls")) != nil {
                return counter
            }
        }
        return nil
    }

    /// To be followed by the command whose calls, with those of all it starts, are counted into the file.
    func command(_ file: String) -> [String] {
        switch self {
        case .perf: ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o", file, "--"]
        case .strace: ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", file, "--"]
        }
    }

    /// Nil when the file does not tell.
    func count(_ text: String) -> Double? {
        for line in text.split(whereSeparator: \.isNewline) {
            switch self {
            case .perf:
                if line.contains("raw_syscalls:sys_enter") { return Double(line.prefix { $0 != "," }) }
            case .strace:
                let words = line.split(separator: " ")
                if words.count == 2, words[1] == "total" { return Double(words[0]) }
            }
        }
        return nil
    }

    /// Calls a frame: those of a longer run less those of a shorter one, so that start and end don't count.
    /// - Parameter root: the module root of nodes, where the shape has more than one host.
    func perFrame(
        _ shape: BenchmarkShape, root: String, pacing: BenchmarkPacing, _ bench: BenchmarkPlace
    ) throws -> Double? {
        let few = 100, many = 600
        guard let less = try run(shape, few, root, pacing, bench), let more = try run(shape, many, root, pacing, bench)
        else { return nil }
        return max(0, more - less) / Double(many - few)
    }

    private func run(
        _ shape: BenchmarkShape, _ frames: Int, _ root: String, _ pacing: BenchmarkPacing, _ bench: BenchmarkPlace
    ) throws -> Double? {
        var nodes: LoopbackNodes?
        if shape.hosts > 1 {
            nodes = try LoopbackNodes(shape.hosts, root: root, bench) { command("\(bench.folder.path)/calls-\($0)") }
        }
        let contestant = HermesContestant(bench: bench, hosts: nodes?.hosts ?? [], pacing: pacing, keyFile: nil)
        do {
            defer { nodes?.end() }
            _ = try bench.run(
                command("\(bench.folder.path)/calls")
                    + contestant.command(shape, frames: frames, warmUp: 0),
                called: "hermes run, its system calls counted", withinSeconds: 120)
        }
        let files = ["calls"] + (shape.hosts > 1 ? (0..<shape.hosts).map { "calls-\($0)" } : [])
        let counts = files.map { count(bench.folder.read($0)) }
        return counts.contains { $0 == nil } ? nil : counts.reduce(0) { $0 + $1! }
    }
}
