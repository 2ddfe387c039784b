/// Cuts a module's output into lines; a line that never ends is cut where it becomes unreasonable.
struct LineSplitter {
    private var partial: [UInt8] = []
    private static let longest = 1 << 16

    mutating func append(_ bytes: UnsafeRawBufferPointer, _ emit: (String) -> Void) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                flush(emit)
            } else {
                partial.append(byte)
                if partial.count >= Self.longest { flush(emit) }
            }
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
