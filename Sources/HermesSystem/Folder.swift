import Glibc

/// What lies in folders.
public enum Folder {
    /// Names of what lies in a folder, without `.` and `..`, in no order.
    /// - Throws: `SystemError` when it can't be read.
    public static func entries(of path: ByteString) throws(SystemError) -> [ByteString] {
        guard let stream = path.withCString({ opendir($0) }) else { throw SystemError("can't read the folder \(path)") }
        return try entries(of: stream) { "can't read the folder \(path)" }
    }

    /// The same of an open folder, whatever its descriptor was read up to.
    public static func entries(of descriptor: Int32) throws(SystemError) -> [ByteString] {
        let action = "can't read a folder"
        let own = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard own >= 0 else { throw SystemError(action) }
        return try entries(taking: own)
    }

    /// The same of a folder opened for this alone; the descriptor is closed.
    public static func entries(taking descriptor: Int32) throws(SystemError) -> [ByteString] {
        let action = "can't read a folder"
        guard let stream = fdopendir(descriptor) else {
            let error = SystemError(action)
            close(descriptor)
            throw error
        }
        return try entries(of: stream) { action }
    }

    private static func entries(of stream: OpaquePointer, _ action: () -> String) throws(SystemError) -> [ByteString] {
        defer { closedir(stream) }
        var names: [ByteString] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw SystemError(action()) }
                return names
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { ByteString(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }
}
