import Glibc
import HermesSystem

/// Public keys in files, or in every `.pub` file of folders. Read anew for each caller, so that a key can be added or taken
/// away while the node runs.
public enum AcceptedKeys {
    /// Files and folders that others may write to are refused: they could let themselves in.
    /// - Throws: `TransportError` for a file that can't be read or holds no key, and for one that others may change.
    public static func read(_ paths: [ByteString]) throws -> Set<String> {  // ASCII
        var keys: Set<String> = []  // ASCII
        for path in paths {
            try CurveKeys.refuseForeignWriters(path, "the accepted key", "let themselves in")
            var status = stat()
            guard stat(path.cString, &status) == 0 else {
                throw TransportError(
                    text: "the accepted key \(path) can't be read: \(SystemError.reason(errno))")
            }
            if status.st_mode & S_IFMT == S_IFDIR {
                for file in try publicKeys(in: path) {
                    try CurveKeys.refuseForeignWriters(file, "the accepted key", "let themselves in")
                    keys.insert(try CurveKeys.loadPublic(file))
                }
            } else {
                keys.insert(try CurveKeys.loadPublic(path))
            }
        }
        return keys
    }

    private static func publicKeys(in folder: ByteString) throws -> [ByteString] {
        do {
            return try Folder.entries(of: folder).filter { $0.hasSuffix(".pub") }.map(folder.appendingPath)
        } catch {
            throw TransportError(text: "the accepted keys: \(error)")
        }
    }
}
