import Glibc
import HermesSystem

/// What stands at a path, links followed; found without opening it.
enum FileKind: Equatable {
    case regular, directory, fifo, device, socket, danglingLink, missing
    case failure(String)

    init(path: ByteString) {
        var status = stat()
        guard stat(path.cString, &status) == 0 else {
            let cause = errno
            guard cause == ENOENT || cause == ENOTDIR else {
                self = .failure(errorText(cause))
                return
            }
            self = lstat(path.cString, &status) == 0 ? .danglingLink : .missing
            return
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: self = .regular
        case S_IFDIR: self = .directory
        case S_IFIFO: self = .fifo
        case S_IFSOCK: self = .socket
        default: self = .device
        }
    }

    /// For "is ...".
    var noun: String {
        switch self {
        case .regular: "a file"
        case .directory: "a directory"
        case .fifo: "a FIFO"
        case .device: "a device"
        case .socket: "a socket"
        case .danglingLink: "a link that leads nowhere"
        case .missing: "missing"
        case .failure(let reason): reason
        }
    }

    /// The name at the end of `path`, and the names of what stands in its folder.
    static func neighbours(of path: ByteString) -> (name: String, others: [String]) {
        // Enough for any folder that people keep models in. What is no text can't be written in a configuration.
        let names = ((try? Folder.entries(of: path.parentPath)) ?? []).prefix(4096).compactMap(\.text)
        return (path.lastPathComponent.text ?? "", names.sorted())
    }
}
