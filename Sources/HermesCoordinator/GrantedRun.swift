/// A run of frames that hosts were granted with one step message, and what is known of it: how many of its frames each host
/// has completed, and their values.
struct GrantedRun {
    private(set) var first: UInt64 = 0
    private(set) var count: UInt64 = 0
    private(set) var done: [UInt64]
    /// For each host, row by row.
    private var rows: [[UInt64]]
    /// Values of a frame that each host sends.
    private let widths: [Int]

    init(widths: [Int]) {
        self.widths = widths
        done = Array(repeating: 0, count: widths.count)
        rows = widths.map { [UInt64](repeating: 0, count: max($0, 1)) }
    }

    var last: UInt64 { first + count - 1 }
    var isDone: Bool { done.allSatisfy { $0 >= count } }
    /// Complete everywhere.
    var completed: UInt64 { done.min() ?? 0 }

    func contains(_ frame: UInt64) -> Bool { frame >= first && frame - first < count }

    mutating func begin(_ first: UInt64, _ count: UInt64) {
        self.first = first
        self.count = count
        for host in done.indices {
            done[host] = 0
            let wanted = widths[host] * Int(count)
            if rows[host].count < wanted { rows[host] = [UInt64](repeating: 0, count: wanted) }
        }
    }

    /// Takes a host's values of its first `count` frames; false when they don't fit.
    mutating func take(host: Int, count rowCount: Int, _ values: UnsafeRawBufferPointer) -> Bool {
        guard rowCount <= Int(count), values.count == widths[host] * 8 * rowCount else { return false }
        rows[host].withUnsafeMutableBytes { $0.copyMemory(from: values) }
        done[host] = UInt64(rowCount)
        return true
    }

    /// Takes the next frame's values of a host in this process.
    mutating func take(host: Int, from slots: UnsafePointer<UInt64>, at places: [Int]) {
        let begin = Int(done[host]) * widths[host]
        for (column, slot) in places.enumerated() { rows[host][begin + column] = slots[slot] }
        done[host] += 1
    }

    /// Writes a host's values of a frame where `places` says.
    func copy(_ frame: UInt64, host: Int, to table: UnsafeMutablePointer<UInt64>, at places: [Int]) {
        let begin = Int(frame - first) * widths[host]
        for (column, slot) in places.enumerated() { table[slot] = rows[host][begin + column] }
    }
}
