import CHermes

/// The CPUs of this machine that are on.
public enum OnlineCPUs {
    /// By number, in order.
    public static var numbers: [Int] {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Int(HERMES_CPU_BYTES)) { bits in
            bits.initialize(repeating: 0)
            hermes_online_cpus(bits.baseAddress)
            return cpuNumbers(UnsafeRawBufferPointer(bits))
        }
    }
}

/// A bit for each CPU, the lowest first.
func cpuNumbers(_ bits: UnsafeRawBufferPointer) -> [Int] {
    bits.indices.filter { bits[$0] != 0 }.flatMap { byte in
        (0..<8).filter { bits[byte] >> $0 & 1 != 0 }.map { byte * 8 + $0 }
    }
}
