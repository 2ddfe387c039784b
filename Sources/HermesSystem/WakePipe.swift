import Glibc

/// Wakes a thread that polls: a byte in a pipe. Closed on exec and with this object; neither end ever waits.
public final class WakePipe: Sendable {
    /// To poll for reading.
    public let descriptor: Int32
    private let end: Int32

    /// - Throws: `SystemError` when no descriptors are left.
    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("can't make a pipe") }
        (descriptor, end) = (ends[0], ends[1])
        for each in ends { setCloseOnExec(each); setBlocking(false, each) }
    }

    deinit {
        close(descriptor)
        close(end)
    }

    /// From any thread. A pipe that is full wakes as well, so nothing is lost where this writes nothing.
    public func wake() {
        var byte: UInt8 = 1
        while write(end, &byte, 1) < 0 && errno == EINTR {}
    }

    /// Takes what was written, so that it can be polled again.
    public func drain() {
        withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { room in
            while read(descriptor, room.baseAddress, room.count) > 0 {}
        }
    }
}
