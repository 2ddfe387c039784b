import Glibc

/// Users as people know them.
public enum UserName {
    /// `nobody (uid 65534)`, or `uid 4711` for one without a name.
    public static func of(_ user: uid_t) -> String { name(of: user).map { "\($0) (uid \(user))" } ?? "uid \(user)" }

    /// Nil for one without a name.
    public static func name(of user: uid_t) -> String? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var room = [CChar](repeating: 0, count: 16384)
        guard getpwuid_r(user, &entry, &room, room.count, &found) == 0, found != nil, let name = entry.pw_name else {
            return nil
        }
        return ByteString(cString: name).description
    }
}
