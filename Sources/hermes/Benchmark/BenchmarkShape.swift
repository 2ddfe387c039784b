import ArgumentParser

/// One simulation to measure: on each host as many modules, each wired to the module at its place on the next host; on one
/// host, to the next module.
struct BenchmarkShape: Equatable, Sendable {
    var hosts: Int
    /// On each host.
    var modules: Int
    /// From each module to the next.
    var signals: Int

    /// What `hermes-bench-module` has room for.
    static let mostHosts = 64, mostModules = 256, mostSignals = 100_000

    /// Every combination, the signals fastest.
    static func all(hosts: [Int], modules: [Int], signals: [Int]) -> [BenchmarkShape] {
        hosts.flatMap { hosts in
            modules.flatMap { modules in
                signals.map { BenchmarkShape(hosts: hosts, modules: modules, signals: $0) }
            }
        }
    }

    /// `1,2,8`: each once, in the order written.
    /// - Throws: `ValidationError` that names the option.
    static func list(_ text: String, of option: String, most: Int) throws -> [Int] {
        var numbers: [Int] = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let number = Int(word), (1...most).contains(number) else {
                throw ValidationError(
                    "\(option) takes numbers from 1 to \(most) with commas between them, not '\(text)'")
            }
            if !numbers.contains(number) { numbers.append(number) }
        }
        return numbers
    }
}
