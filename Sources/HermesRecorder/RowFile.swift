import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

/// Rows of values of one width, by frame, in a file without a name: it is gone when its owner is, however that ends.
final class RowFile {
    private let file: UnsafeMutablePointer<FILE>
    private let width: Int
    private let capacity: Int
    private(set) var count = 0

    /// - Parameter bytes: more than that is not kept.
    /// - Throws: `RunFailure` when the file can't be made.
    init(folder: ByteString, width: Int, bytes: Int) throws {
        var template = ("\(folder)/hermes-rows-XXXXXX" as ByteString).cString
        let descriptor = mkstemp(&template)
        guard descriptor >= 0, let file = fdopen(descriptor, "w+") else {
            throw RunFailure(
                .resource, cause: "no temporary file can be made in \(folder): \(String(cString: strerror(errno)))")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        unlink(template)
        self.file = file
        self.width = width
        capacity = bytes / max(8, 8 * width)
    }

    deinit { fclose(file) }

    /// Keeps a row while there is room, on disk too.
    func append(_ row: [UInt64]) {
        guard count < capacity, row.withUnsafeBytes({ fwrite($0.baseAddress, 1, $0.count, file) }) == 8 * width else {
            return
        }
        count += 1
    }

    /// Nil for a row that was not kept.
    func row(_ index: Int) -> [UInt64]? {
        guard index < count, fflush(file) == 0, fseek(file, index * 8 * width, SEEK_SET) == 0 else { return nil }
        var row = [UInt64](repeating: 0, count: width)
        let read = row.withUnsafeMutableBytes { fread($0.baseAddress, 1, $0.count, file) }
        return read == 8 * width ? row : nil
    }
}
