import Glibc
import HermesProtocol
import HermesSystem

/// Room for segments.
enum SharedMemoryChecks {
    private static let scarce = 64 << 20

    static func findings() -> [Finding] { [room, folder] }

    private static var room: Finding {
        var status = statvfs()
        guard statvfs("/dev/shm", &status) == 0 else {
            return .broken("shared memory", "/dev/shm is not there", cure: "mount -t tmpfs tmpfs /dev/shm")
        }
        let size = Int(status.f_frsize) * Int(status.f_blocks)
        let free = Int(status.f_frsize) * Int(status.f_bavail)
        let seen = "\(free >> 20) MB free of \(size >> 20) MB in /dev/shm"
        let cure = "mount -o remount,size=1G /dev/shm (in a container: --shm-size=1g)"
        if free < 1 << 20 { return .broken("shared memory", seen, cure: cure) }
        return free < scarce ? .poor("shared memory", seen, cure: cure) : .fine("shared memory", seen)
    }

    private static var folder: Finding {
        let path = RunFolder.base
        var status = stat()
        if lstat(path, &status) != 0 {
            return access("/dev/shm", W_OK) == 0
                ? .fine("run folders", "\(path) can be made")
                : .broken("run folders", "/dev/shm can't be written", cure: "chmod 1777 /dev/shm")
        }
        let isPrivate = status.st_mode & S_IFMT == S_IFDIR && status.st_uid == getuid() && status.st_mode & 0o077 == 0
        return isPrivate
            ? .fine("run folders", path)
            : status.st_uid == getuid()
                ? .broken("run folders", "\(path) is not a private folder of this user", cure: "remove it")
                : .broken(
                    "run folders", "\(path) belongs to user \(UserName.of(status.st_uid))", cure: "sudo rm -r \(path)")
    }
}
