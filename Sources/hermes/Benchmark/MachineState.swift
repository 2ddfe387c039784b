import Glibc
import HermesNode

/// What a benchmark ran on.
struct MachineState: Sendable {
    var cores = ThisMachine.cores
    var processor = ThisMachine.machine.processor
    var kernel = Self.kernelRelease
    /// Processes that wanted a core, over the last minute before the benchmark.
    var load = Self.loadAverage

    /// Others want a quarter of its cores and more.
    var isBusy: Bool { load > max(0.5, Double(cores) / 4) }

    static var architecture: String { ThisMachine.machine.architecture }

    private static var kernelRelease: String {
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static var loadAverage: Double {
        var averages = [0.0, 0.0, 0.0]
        return getloadavg(&averages, 3) == 3 ? averages[0] : 0
    }
}
