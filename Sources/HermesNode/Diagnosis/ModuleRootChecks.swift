import Glibc
import HermesProtocol

/// The folder of modules: room for what `hermes push` sends, and whether it may be written at all.
enum ModuleRootChecks {
    private static let scarce = 256 << 20

    static func findings(of root: ModuleRoot, allowsPush: Bool) -> [Finding] {
        var status = statvfs()
        guard fstatvfs(root.descriptor, &status) == 0 else {
            return [.broken("module root", "\(root.path) is gone", cure: "make it again and restart hermes-node")]
        }
        let free = Int(status.f_frsize) * Int(status.f_bavail)
        let seen = "\(root.path), \(free >> 20) MB free"
        guard allowsPush else { return [.fine("module root", "\(seen), --no-push")] }
        if access(root.path.cString, W_OK) != 0 {
            return [
                .poor(
                    "module root", "\(root.path) can't be written: `hermes push` has no effect",
                    cure: "let this user write to it, or start hermes-node with --no-push")
            ]
        }
        return free < scarce
            ? [.poor("module root", seen, cure: "make room on its file system")] : [.fine("module root", seen)]
    }
}
