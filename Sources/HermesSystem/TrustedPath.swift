import Glibc

/// Files and folders that decide what this process does: the root of modules, keys, the programs it starts.
public enum TrustedPath {
    /// A place on the way to a path where others may put something else.
    public struct Untrusted: Error, Sendable, Equatable, CustomStringConvertible {
        public enum Reason: Sendable, Equatable {
            case writable
            case foreign(owner: UInt32)
        }
        public var path: ByteString
        /// The path itself, a folder above it, or one that a link on the way lies in.
        public var place: ByteString
        public var reason: Reason

        /// What is wrong, and the cure.
        public var description: String {
            switch reason {
            case .writable: "others may write to \(place); run: chmod go-w \(place)"
            case .foreign(let owner):
                "\(place) belongs to another user (uid \(owner)); chown it to this user or root, or name another"
            }
        }
    }

    private static let mostLinks = 40

    /// Checks that nobody but this user and root decides what `path` is: it and every folder on the way belong to one of them,
    /// and neither group nor others may write to them. Links are looked through, and the folders they lie in count as well. A
    /// folder with the sticky bit, as /tmp is, may lie above: what is in it can only be replaced by its owner. What is mounted
    /// read-only is written by nobody.
    /// - Throws: `Untrusted`; `SystemError` when something on the way is not there.
    public static func check(_ path: ByteString) throws {
        var rest = absolute(path).pathComponents[...]
        // The folders down to here, each checked.
        var folders: [ByteString] = ["/"]
        try check(folder: "/", for: path, isLast: rest.isEmpty)
        var links = 0
        while let name = rest.popFirst() {
            if name == "." { continue }
            if name == ".." {
                if folders.count > 1 { folders.removeLast() }
                if rest.isEmpty { try check(folder: folders.last!, for: path, isLast: true) }
                continue
            }
            let place = folders.last!.appendingPath(name)
            var status = stat()
            guard place.withCString({ lstat($0, &status) }) == 0 else { throw SystemError("can't look at \(place)") }
            guard status.st_uid == 0 || status.st_uid == geteuid() else {
                throw Untrusted(path: path, place: place, reason: .foreign(owner: status.st_uid))
            }
            if status.st_mode & S_IFMT == S_IFLNK {
                links += 1
                guard links <= mostLinks else { throw SystemError("can't look at \(place)", code: ELOOP) }
                let target = try readLink(place)
                if target.isAbsolutePath { folders = ["/"] }
                rest = (target.pathComponents + rest)[...]
                if rest.isEmpty { try check(folder: folders.last!, for: path, isLast: true) }
                continue
            }
            try check(mode: status.st_mode, of: place, for: path, isLast: rest.isEmpty)
            folders.append(place)
        }
    }

    private static func absolute(_ path: ByteString) -> ByteString {
        guard !path.isAbsolutePath, let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        return ByteString(cString: here).appendingPath(path)
    }

    private static func check(folder: ByteString, for path: ByteString, isLast: Bool) throws {
        var status = stat()
        guard folder.withCString({ lstat($0, &status) }) == 0 else { throw SystemError("can't look at \(folder)") }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw Untrusted(path: path, place: folder, reason: .foreign(owner: status.st_uid))
        }
        try check(mode: status.st_mode, of: folder, for: path, isLast: isLast)
    }

    private static func check(mode: mode_t, of place: ByteString, for path: ByteString, isLast: Bool) throws(Untrusted)
    {
        guard mode & 0o022 != 0 else { return }
        // Others may add to it, but not replace what is there.
        if mode & S_IFMT == S_IFDIR, mode & S_ISVTX != 0, !isLast { return }
        var system = statvfs()
        if place.withCString({ statvfs($0, &system) }) == 0, system.f_flag & UInt(ST_RDONLY) != 0 { return }
        throw Untrusted(path: path, place: place, reason: .writable)
    }

    private static func readLink(_ path: ByteString) throws(SystemError) -> ByteString {
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = path.withCString { readlink($0, &room, room.count) }
        guard length >= 0 else { throw SystemError("can't read the link \(path)") }
        return ByteString(bytes: room[..<length].map { UInt8(bitPattern: $0) })
    }
}
