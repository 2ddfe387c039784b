import Glibc

/// Tells whether two hosts are one machine: the same since the kernel started, and one network.
public enum MachineIdentity {
    /// Equal for those that reach each other without a wire. Containers and network namespaces count as machines of
    /// their own, as they are addressed.
    public static var own: String { "\(text(of: "/proc/sys/kernel/random/boot_id")) \(link("/proc/self/ns/net"))" }

    private static func text(of path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count].prefix { $0 > 0x20 }, as: UTF8.self)
    }

    private static func link(_ path: String) -> String {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = bytes.withUnsafeMutableBytes {
            readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), 64)
        }
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
}
