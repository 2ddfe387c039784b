import Glibc
import HermesModel
import HermesSystem

/// Gets the bytes of a configuration file without ever waiting for them.
enum ConfigurationFile {
    /// Larger configurations are refused, in bytes.
    static let sizeLimit = 16 << 20

    /// The bytes of the regular file at `path`; throws a Diagnostic at 1:1 that says why there are none.
    static func bytes(path: ByteString) throws -> [UInt8] {
        func refusal(_ message: String) -> Diagnostic {
            Diagnostic(.error, at: SourceLocation(file: path.description, line: 1, column: 1), message)
        }
        // Looked at before it is opened: opening a FIFO or a device can block or set something off.
        switch FileKind(path: path) {
        case .regular: break
        case .missing: throw refusal("no such file\(Findings(file: path.description).suggestion(forMissing: path))")
        case .failure(let reason): throw refusal("the file cannot be read: \(reason)")
        case let kind: throw refusal("this is \(kind.noun), not a configuration file")
        }
        let descriptor = open(path.cString, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw refusal("the file cannot be read: \(errorText(errno))") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw refusal("this is not a regular file")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(max(min(Int(status.st_size), sizeLimit), 0))
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count <= sizeLimit {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw refusal("the file cannot be read: \(errorText(errno))")
            }
            bytes.append(contentsOf: chunk[..<count])
        }
        throw refusal(tooLarge)
    }

    static let tooLarge = "the file is larger than \(sizeLimit >> 20) MiB; wire many signals with bulk wires (`*`)"
}

/// What the operating system says of an error number.
func errorText(_ number: Int32) -> String {
    String(cString: strerror(number))
}
