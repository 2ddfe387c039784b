import Glibc
import HermesSystem

/// Stream sockets in the file system.
public enum UnixSocket {
    /// A connected socket, nil with errno set when nobody listens there. Never waits: EAGAIN tells of a listener that
    /// accepts nobody.
    public static func connect(to path: ByteString) -> Int32? {
        guard let socket = make() else { return nil }
        let flags = fcntl(socket, F_GETFL)
        _ = fcntl(socket, F_SETFL, flags | O_NONBLOCK)
        guard withAddress(path, { Glibc.connect(socket, $0, $1) }) == 0 else {
            let code = errno
            close(socket)
            errno = code
            return nil
        }
        _ = fcntl(socket, F_SETFL, flags)
        return socket
    }

    /// A listening socket of mode 0600, nil with errno set.
    public static func listen(at path: ByteString) -> Int32? {
        guard let socket = make() else { return nil }
        // Its folder is private, so nobody else reaches it before chmod.
        guard withAddress(path, { bind(socket, $0, $1) }) == 0, chmod(path.cString, 0o600) == 0,
            Glibc.listen(socket, 128) == 0
        else {
            close(socket)
            return nil
        }
        return socket
    }

    private static func make() -> Int32? {
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        return socket >= 0 ? socket : nil
    }

    private static func withAddress(_ path: ByteString, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32
    {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            errno = ENAMETOOLONG
            return -1
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
