import Glibc

extension ByteString {
    /// The bytes of a file to its end.
    /// - Throws: `SystemError`.
    public init(contentsOf path: ByteString) throws(SystemError) {
        let action = "can't read \(path)"
        let file = open(path.cString, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw SystemError(action) }
        defer { close(file) }
        bytes = []
        var room = [UInt8](repeating: 0, count: 1 << 14)
        while true {
            let count = read(file, &room, room.count)
            if count == 0 { return }
            if count > 0 {
                bytes += room[..<count]
            } else if errno != EINTR {
                throw SystemError(action)
            }
        }
    }

    /// All of it, however many calls that takes.
    /// - Throws: `SystemError`.
    public func write(to descriptor: Int32) throws(SystemError) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + sent, bytes.count - sent) }
            if count >= 0 {
                sent += count
            } else if errno != EINTR {
                throw SystemError("can't write")
            }
        }
    }
}
