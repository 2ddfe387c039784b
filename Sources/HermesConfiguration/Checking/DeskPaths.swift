import Glibc
import HermesSystem

/// Where the paths of desk modules lead.
struct DeskPaths {
    /// Absolute, without a slash at its end (but for "/").
    let baseDirectory: ByteString

    /// A relative `baseDirectory` starts at the working directory.
    init(baseDirectory: ByteString) {
        self.baseDirectory = Self.workingDirectory().appendingPath(baseDirectory).tidiedPath
    }

    func absolute(_ path: ByteString) -> ByteString { baseDirectory.appendingPath(path).tidiedPath }

    private static func workingDirectory() -> ByteString {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return ByteString(cString: path)
    }
}
