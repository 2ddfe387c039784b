import Glibc

/// What stands at a path, links followed; found without opening it.
enum FileKind: Equatable {
    case regular, directory, fifo, device, socket, danglingLink, missing
    case failure(String)

    init(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            let cause = errno
            guard cause == ENOENT || cause == ENOTDIR else {
                self = .failure(errorText(cause))
                return
            }
            self = lstat(path, &status) == 0 ? .danglingLink : .missing
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
    static func neighbours(of path: String) -> (name: String, others: [String]) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        guard let stream = opendir(folder) else { return (name, []) }
        defer { closedir(stream) }
        var names: [String] = []
        // Enough for any folder that people keep models in.
        while names.count < 4096, let entry = readdir(stream) {
            let entryName = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if entryName != ".", entryName != ".." { names.append(entryName) }
        }
        return (name, names.sorted())
    }
}
