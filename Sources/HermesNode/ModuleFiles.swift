import CKeeper
import FoundationEssentials
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

/// What coordinators may see of the files beneath the module root, and put there. A file grows under a name of its own and
/// takes its place in one step when all of it is there and its hash fits: whoever looks sees the old one or the new one.
/// Used by one thread at a time.
final class ModuleFiles: @unchecked Sendable {
    /// A file on its way.
    private struct Upload {
        let caller: NodeListener.Caller
        let number: UInt64
        /// Beneath `folder`.
        let name: ByteString
        let descriptor: Int32
        let total: Int
        var received = 0
        var hash = FileHash()
        var touchedAt: UInt64
    }

    /// Of uploads, in the module root.
    static let folder: ByteString = ".hermes-push"
    private static let mostUploads = 16
    /// Nobody is expected to go on with an upload that has rested for so long.
    private static let restSeconds = 30.0
    /// Left free on the file system, in bytes.
    private static let reserve = 16 << 20

    private let root: ModuleRoot
    private let allowsPush: Bool
    private let log: NodeLog
    private var uploads: [Upload] = []

    /// Removes what an earlier node did not finish.
    init(root: ModuleRoot, allowsPush: Bool, log: NodeLog) {
        self.root = root
        self.allowsPush = allowsPush
        self.log = log
        sweep()
    }

    /// Forgets what somebody has begun that has gone: others may have the place.
    func forget(_ caller: NodeListener.Caller) {
        for index in uploads.indices.reversed() where uploads[index].caller == caller {
            log.note("forgot \(uploads[index].received) bytes of an upload whose sender is gone")
            discard(uploads.remove(at: index))
        }
    }

    /// Forgets the uploads that are not finished.
    func close() {
        while let upload = uploads.popLast() { discard(upload) }
    }

    // MARK: Looking

    /// - Parameter isWanted: asked while long files are read; false ends it.
    func find(_ question: AskHashes, isWanted: () -> Bool) throws -> FoundFiles {
        guard question.paths.count <= AskHashes.mostPaths else {
            throw Refused("a question for more than \(AskHashes.mostPaths) hashes")
        }
        return FoundFiles(
            entries: question.paths.map { path in
                if let fault = PathBeneath.fault(in: path) { return .init(.other, cause: "'\(path)' \(fault)") }
                return entry(path, isWanted)
            })
    }

    private func entry(_ path: ByteString, _ isWanted: () -> Bool) -> FoundFiles.Entry {
        // Without waiting for whoever might write into a FIFO.
        let file = keeper_open_beneath(root.descriptor, path.cString, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        guard file >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return .init(.absent) }
            return .init(
                .other,
                cause: errno == EXDEV
                    ? "a link leads out of the module root" : String(cString: strerror(errno)))
        }
        defer { Glibc.close(file) }
        var status = stat()
        fstat(file, &status)
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return .init(.folder)
        case S_IFREG: break
        default: return .init(.other, cause: "neither a file nor a folder")
        }
        guard let hash = FileHash.of(descriptor: file, isWanted: isWanted) else {
            return .init(.other, cause: String(cString: strerror(errno)))
        }
        return .init(.file, hash: hash, isExecutable: status.st_mode & 0o111 != 0)
    }

    // MARK: Putting

    func makeFolder(_ wanted: MakeFolder) throws {
        let path = try checked(wanted.path)
        let folder = keeper_make_folder_beneath(root.descriptor, path.cString)
        guard folder >= 0 else { throw refusal("the folder \(path)") }
        Glibc.close(folder)
    }

    func put(_ piece: PutPiece, from caller: NodeListener.Caller) throws -> TookPiece {
        let path = try checked(piece.path)
        guard piece.bytes.count <= PutPiece.longest, (0...(1 << 40)).contains(piece.total),
            (0...piece.total).contains(piece.offset), piece.bytes.count <= piece.total - piece.offset,
            !piece.bytes.isEmpty || piece.total == 0
        else { throw Refused("\(path): a piece that does not fit into its file") }
        let known = uploads.firstIndex { $0.caller == caller && $0.number == piece.upload }
        if piece.offset == 0 { try begin(piece, path, caller, replacing: known) }
        let index = piece.offset == 0 ? uploads.count - 1 : known ?? -1
        guard index >= 0, uploads[index].received == piece.offset, uploads[index].total == piece.total else {
            throw Refused("\(path): this piece does not follow the one before; begin again")
        }
        do {
            try append(piece.bytes, to: index, path)
            guard uploads[index].received == piece.total else { return TookPiece(received: uploads[index].received) }
            try finish(index, path, piece)
        } catch {
            discard(uploads.remove(at: index))
            throw error
        }
        return TookPiece(received: piece.total)
    }

    /// The one text for this place.
    private func checked(_ path: ByteString) throws -> ByteString {
        guard allowsPush else {
            throw Refused("this node takes no files, it was started with --no-push; copy \(path) there by other means")
        }
        if let fault = PathBeneath.fault(in: path) { throw Refused("'\(path)' \(fault)") }
        let tidied = path.tidiedPath
        guard let first = tidied.pathComponents.first, first != Self.folder else {
            throw Refused("'\(path)' is no place for modules")
        }
        return tidied
    }

    private func begin(_ piece: PutPiece, _ path: ByteString, _ caller: NodeListener.Caller, replacing known: Int?)
        throws
    {
        if let known { discard(uploads.remove(at: known)) }
        let now = monotonicNow()
        for index in uploads.indices.reversed()
        where now > uploads[index].touchedAt + UInt64(Self.restSeconds * 1e9) {
            log.note("forgot \(uploads[index].received) bytes of an upload that nobody went on with")
            discard(uploads.remove(at: index))
        }
        guard uploads.count < Self.mostUploads else {
            throw Refused("\(path): \(uploads.count) files are being pushed to this node already; try again later")
        }
        try checkRoom(for: piece.total, path)
        uploads.append(try made(caller, piece, path))
    }

    private func checkRoom(for total: Int, _ path: ByteString) throws {
        var status = statvfs()
        guard fstatvfs(root.descriptor, &status) == 0 else { throw refusal("the module root") }
        let promised = uploads.reduce(0) { $0 + $1.total - $1.received }
        let free = Int(status.f_frsize) * Int(status.f_bavail) - promised - Self.reserve
        guard total <= free else {
            throw Refused(
                "\(path) has \(total >> 20) MB, and beneath the module root there is room for \(max(0, free) >> 20) MB; "
                    + "make room on that file system")
        }
    }

    /// An empty file of a name that nobody has, locked: a file without a lock is nobody's.
    private func made(_ caller: NodeListener.Caller, _ piece: PutPiece, _ path: ByteString) throws -> Upload {
        for _ in 0..<8 {
            let folder = keeper_make_folder_beneath(root.descriptor, Self.folder.cString)
            guard folder >= 0 else { throw refusal("\(path)") }
            defer { Glibc.close(folder) }
            let name: ByteString = "\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 36))"
            let file = openat(folder, name.cString, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            // The folder goes when it is empty, perhaps just now.
            if file < 0 && errno == ENOENT { continue }
            guard file >= 0 else { throw refusal("\(path)") }
            var status = stat()
            if flock(file, LOCK_EX | LOCK_NB) == 0, fstat(file, &status) == 0, status.st_nlink == 1 {
                return Upload(
                    caller: caller, number: piece.upload, name: name, descriptor: file, total: piece.total,
                    touchedAt: monotonicNow())
            }
            Glibc.close(file)
        }
        throw Refused("\(path): can't be begun; try again")
    }

    private func append(_ bytes: Data, to index: Int, _ path: ByteString) throws {
        let upload = uploads[index]
        try bytes.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = pwrite(
                    upload.descriptor, bytes.baseAddress! + sent, bytes.count - sent, upload.received + sent)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { throw refusal("\(path)") }
                sent += count
            }
            uploads[index].hash.update(bytes)
        }
        uploads[index].received += bytes.count
        uploads[index].touchedAt = monotonicNow()
    }

    private func finish(_ index: Int, _ path: ByteString, _ piece: PutPiece) throws {
        let upload = uploads[index]
        guard uploads[index].hash.finish() == piece.hash else {
            throw Refused("\(path): what arrived is not what was sent; push it again")
        }
        let target = keeper_make_folder_beneath(root.descriptor, path.parentPath.cString)
        guard target >= 0 else { throw refusal("the folder of \(path)") }
        defer { Glibc.close(target) }
        let folder = keeper_open_beneath(root.descriptor, Self.folder.cString, keeper_o_path | O_DIRECTORY)
        guard folder >= 0 else { throw refusal("\(path)") }
        defer { Glibc.close(folder) }
        guard fchmod(upload.descriptor, piece.isExecutable ? 0o755 : 0o644) == 0, fsync(upload.descriptor) == 0,
            renameat(folder, upload.name.cString, target, path.lastPathComponent.cString) == 0
        else { throw refusal("\(path)") }
        Glibc.close(upload.descriptor)
        uploads.remove(at: index)
        removeFolder()
        log.note("took \(path), \(piece.total) bytes")
    }

    private func refusal(_ what: String) -> Refused {
        let code = errno
        if code == EXDEV { return Refused("\(what): a link leads out of the module root, or to another file system") }
        if code == EISDIR { return Refused("\(what): there is a folder of that name") }
        return Refused("\(what) can't be written there: \(String(cString: strerror(code)))")
    }

    // MARK: Clearing up

    private func discard(_ upload: Upload) {
        let folder = keeper_open_beneath(root.descriptor, Self.folder.cString, keeper_o_path | O_DIRECTORY)
        if folder >= 0 {
            unlinkat(folder, upload.name.cString, 0)
            Glibc.close(folder)
        }
        Glibc.close(upload.descriptor)
        removeFolder()
    }

    /// Unless other uploads are in it.
    private func removeFolder() { unlinkat(root.descriptor, Self.folder.cString, AT_REMOVEDIR) }

    /// Removes uploads whose node is gone: one that lives holds a lock.
    private func sweep() {
        let folder = keeper_open_beneath(root.descriptor, Self.folder.cString, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        guard folder >= 0 else { return }
        defer { Glibc.close(folder) }
        for name in (try? Folder.entries(of: folder)) ?? [] {
            let file = openat(folder, name.cString, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard file >= 0 else { continue }
            if flock(file, LOCK_EX | LOCK_NB) == 0 { unlinkat(folder, name.cString, 0) }
            Glibc.close(file)
        }
        removeFolder()
    }
}
