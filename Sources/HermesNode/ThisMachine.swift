import Glibc
import HermesProtocol
import HermesSystem

/// What this host is, for those who plan to run something on it.
public enum ThisMachine {
    public static var clockNanoseconds: Int {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1_000_000_000 + now.tv_nsec
    }

    public static var cores: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }
    /// Bytes.
    public static var memory: Int { sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) }

    public static var machine: Machine {
        var name = utsname()
        uname(&name)
        let architecture = withUnsafeBytes(of: &name.machine) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let (processor, features) = processorLines()
        return Machine(
            architecture: architecture, processor: processor, features: features,
            libc: libc)
    }

    private static var libc: String {
        var room = [CChar](repeating: 0, count: 64)
        confstr(Int32(_CS_GNU_LIBC_VERSION), &room, room.count)
        return String(decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// glibc picks other variants of sin, exp and their like where these are there.
    private static let telling = ["fma", "fma4", "avx", "avx2", "avx512f", "sse4_1", "asimd", "sve"]

    private static func processorLines() -> (String, [String]) {
        var processor = "unknown", features: [String] = []
        for line in SystemLines("/proc/cpuinfo") {
            if line.isEmpty { break }
            guard let colon = line.firstIndex(of: ":") else { continue }  // ASCII
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            if line.hasPrefix("model name") { processor = String(value) }
            if line.hasPrefix("flags") || line.hasPrefix("Features") {
                let all = Set(value.split(separator: " ").map(String.init))  // ASCII
                features = telling.filter(all.contains)
            }
        }
        return (processor, features)
    }
}
