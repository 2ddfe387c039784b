import Glibc
import HermesProtocol

/// Files that commands write for their users.
enum OutputFile {
    /// Before anything is started; leaves the file as it is.
    /// - Throws: when the file could not be written.
    static func check(_ path: String) throws(RunFailure) {
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG, status.st_mode & S_IFMT != S_IFDIR {
            // The reader of a FIFO would take opening and closing it for the end.
            guard access(path, W_OK) == 0 else { throw failure(path) }
            return
        }
        let flags = O_WRONLY | O_NONBLOCK | O_CLOEXEC
        let made = open(path, flags | O_CREAT | O_EXCL, 0o644)
        if made >= 0 {
            close(made)
            unlink(path)
            return
        }
        // O_CREAT once more: a link may point to what is not there yet.
        let descriptor = errno == EEXIST ? open(path, flags | O_CREAT, 0o644) : -1
        guard descriptor >= 0 else { throw failure(path) }
        close(descriptor)
    }

    /// - Throws: when the file can't be written.
    static func write(_ text: String, to path: String) throws(RunFailure) { try write(Array(text.utf8), to: path) }

    /// - Throws: when the file can't be written.
    static func write(_ bytes: [UInt8], to path: String) throws(RunFailure) {
        guard let file = fopen(path, "we") else { throw failure(path) }
        let isWritten = fwrite(bytes, 1, bytes.count, file) == bytes.count
        guard fclose(file) == 0, isWritten else { throw failure(path) }
    }

    /// By errno.
    private static func failure(_ path: String) -> RunFailure {
        RunFailure(.resource, cause: "\(path) can't be written: \(String(cString: strerror(errno)))")
    }
}
