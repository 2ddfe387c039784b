import Glibc

/// Where the paths of desk modules lead.
struct DeskPaths {
    /// Absolute, without a slash at its end (but for "/").
    let baseDirectory: String

    /// A relative `baseDirectory` starts at the working directory.
    init(baseDirectory: String) {
        if baseDirectory.hasPrefix("/") {
            self.baseDirectory = Self.tidied(baseDirectory)
        } else {
            self.baseDirectory = Self.tidied(Self.workingDirectory() + "/" + baseDirectory)
        }
    }

    func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? Self.tidied(path) : Self.tidied(baseDirectory + "/" + path)
    }

    /// Without empty and `.` parts; `..` stays, for a link may stand before it.
    private static func tidied(_ path: String) -> String {
        "/" + path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }

    private static func workingDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }
}
