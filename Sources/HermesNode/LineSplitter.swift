import Glibc

/// Cuts a module's output into lines; a line that never ends is cut where it becomes unreasonable.
struct LineSplitter {
    private var partial: [UInt8] = []
    private static let longest = 1 << 16

    mutating func append(_ bytes: UnsafeRawBufferPointer, _ emit: (String) -> Void) {
        var begin = 0
        while begin < bytes.count {
            let start = bytes.baseAddress! + begin
            let most = min(bytes.count - begin, Self.longest - partial.count)
            let end = memchr(start, Int32(UInt8(ascii: "\n")), most)
            let length = end.map { UnsafeRawPointer($0) - start } ?? most
            partial.append(contentsOf: UnsafeRawBufferPointer(start: start, count: length))
            begin += length + (end == nil ? 0 : 1)
            if end != nil || partial.count >= Self.longest { flush(emit) }
        }
    }

    /// What is left at the end of the stream.
    mutating func finish(_ emit: (String) -> Void) {
        if !partial.isEmpty { flush(emit) }
    }

    private mutating func flush(_ emit: (String) -> Void) {
        emit(String(decoding: partial, as: UTF8.self))
        partial.removeAll(keepingCapacity: true)
    }
}
