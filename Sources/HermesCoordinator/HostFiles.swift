import Glibc
import HermesModel
import HermesSystem

/// The files that a host's modules need and that lie in the configuration's folder; beneath the node's module root they lie
/// at the same place. Found without reading them.
public struct HostFiles: Sendable {
    public struct File: Sendable {
        /// Tidied, beneath the configuration's folder and the module root.
        public var path: ByteString
        /// Where it is here.
        public var source: ByteString
        public var isExecutable: Bool
    }

    /// By path, each once.
    public private(set) var files: [File] = []
    /// Folders that must be there whatever is in them.
    public private(set) var folders: [ByteString] = []
    /// What the configuration names and is not here.
    public private(set) var missing: [ByteString] = []
    /// What lies in named folders and is not copied, being neither file nor folder, and why.
    public private(set) var leftOut: [Remark] = []
    /// What can't be copied, and why.
    public private(set) var wrong: [Remark] = []

    public struct Remark: Sendable {
        public var path: ByteString
        public var cause: String
    }

    /// Folders within folders, and files of one host.
    private static let deepest = 64, most = 100_000

    private let base: ByteString
    private var seen: Set<ByteString> = []

    public init(of host: String, in simulation: Simulation) {
        base = simulation.baseDirectory
        for module in simulation.modules where module.host == host {
            for path in [module.program, module.configuration].compactMap({ $0 }) + module.files { name(path) }
            // What a module writes there stays on its host; what it reads there is for `files:` to name.
            if let path = module.workingDirectory?.tidiedPath, !path.isEmpty, !folders.contains(path) {
                folders.append(path)
            }
        }
        files.sort { $0.path < $1.path }
    }

    private mutating func name(_ path: ByteString) {
        let path = path.tidiedPath
        var status = stat()
        if stat(source(path).cString, &status) != 0 && (errno == ENOENT || errno == ENOTDIR) {
            if seen.insert(path).inserted { missing.append(path) }
        } else {
            add(path, depth: 0)
        }
    }

    private func source(_ path: ByteString) -> ByteString { path.isEmpty ? base : base.appendingPath(path) }

    private mutating func add(_ path: ByteString, depth: Int) {
        guard seen.insert(path).inserted else { return }
        var status = stat(), own = stat()
        guard stat(source(path).cString, &status) == 0, lstat(source(path).cString, &own) == 0 else {
            wrong.append(Remark(path: path, cause: String(cString: strerror(errno))))
            return
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG:
            guard files.count < Self.most else {
                wrong.append(Remark(path: path, cause: "more than \(Self.most) files"))
                return
            }
            files.append(
                File(path: path, source: source(path), isExecutable: status.st_mode & 0o111 != 0))
        case S_IFDIR where depth > 0 && own.st_mode & S_IFMT == S_IFLNK:
            // It may lead to a folder that it lies in.
            leftOut.append(Remark(path: path, cause: "a link to a folder; name the folder itself"))
        case S_IFDIR where depth > Self.deepest:
            wrong.append(Remark(path: path, cause: "more than \(Self.deepest) folders within folders"))
        case S_IFDIR: addFolder(path, depth)
        case _ where depth > 0: leftOut.append(Remark(path: path, cause: "neither a file nor a folder"))
        default: wrong.append(Remark(path: path, cause: "neither a file nor a folder"))
        }
    }

    private mutating func addFolder(_ path: ByteString, _ depth: Int) {
        let names: [ByteString]
        do throws(SystemError) {
            names = try Folder.entries(of: source(path))
        } catch {
            wrong.append(Remark(path: path, cause: SystemError.reason(error.code)))
            return
        }
        if names.isEmpty && !path.isEmpty && !folders.contains(path) { folders.append(path) }
        for name in names.sorted() {
            let inner = path.appendingPath(name)
            if let fault = PathBeneath.fault(in: inner) {
                wrong.append(Remark(path: inner, cause: "its name \(fault)"))
            } else {
                add(inner, depth: depth + 1)
            }
        }
    }
}
