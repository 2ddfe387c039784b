import Glibc
import HermesProtocol
import HermesSystem

/// The file of a socket that ZeroMQ listens at. ZeroMQ takes whatever stands there out of its way, also a socket that
/// somebody listens at; so it is looked at before.
enum SocketFile {
    /// Makes room at `path`: removes what dead nodes left there, and what their runs left beside it.
    /// - Throws: `RunFailure` when somebody listens there, or something else has that name.
    static func clear(_ path: ByteString) throws {
        var status = stat()
        if lstat(path.cString, &status) == 0 && status.st_mode & S_IFMT != S_IFSOCK {
            throw RunFailure(.refused, cause: "\(path) is there already and is no socket; name another")
        }
        if isListened(at: path) {
            throw RunFailure(
                .refused,
                cause: "ipc://\(path) is taken, most likely by another hermes-node; end that one or listen elsewhere")
        }
        let folder = path.parentPath
        let prefix = path.lastPathComponent + "."
        for name in (try? Folder.entries(of: folder)) ?? [] where name.hasPrefix(prefix) {
            let file = folder.appendingPath(name)
            guard lstat(file.cString, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK, status.st_uid == getuid(),
                !isListened(at: file)
            else { continue }
            unlink(file.cString)
        }
    }

    private static func isListened(at path: ByteString) -> Bool {
        guard let socket = UnixSocket.connect(to: path) else { return errno == EAGAIN }
        close(socket)
        return true
    }
}
