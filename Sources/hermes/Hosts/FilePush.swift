import FoundationEssentials
import Glibc
import HermesCoordinator
import HermesProtocol
import HermesSystem
import HermesTransport

/// Brings the files of one host up to those here: asks for hashes, sends what differs.
struct FilePush: Sendable {
    /// What became of one file, or of a folder.
    enum Deed: String, Sendable {
        case sent, same
        /// Made, a folder.
        case made
        /// Not here; the host has one.
        case kept
        /// Neither file nor folder.
        case skipped
        /// Neither here nor there, or not to be copied.
        case failed
    }
    struct Entry: Sendable {
        var path: ByteString
        var deed: Deed
        var bytes = 0
        var cause: String?
    }

    /// For a node to read and hash what it has; a lost one is noticed sooner.
    private static let answerSeconds = 600.0

    let call: HostCall
    let files: HostFiles
    /// Told as it happens.
    let told: @Sendable (Entry) -> Void

    /// - Throws: what ends the push to this host. What is wrong with single files is told.
    func run() throws {
        for remark in files.wrong { told(Entry(path: remark.path, deed: .failed, cause: remark.cause)) }
        for remark in files.leftOut { told(Entry(path: remark.path, deed: .skipped, cause: remark.cause)) }
        try keepMissing()
        try makeFolders()
        try look(files.files.map(\.path)) { try bring(files.files[$0], $1) }
    }

    /// What is there at each path, told one by one with its index.
    private func look(_ paths: [ByteString], _ take: (Int, FoundFiles.Entry) throws -> Void) throws {
        for begin in stride(from: 0, to: paths.count, by: AskHashes.mostPaths) {
            let slice = Array(paths[begin..<min(begin + AskHashes.mostPaths, paths.count)])
            let found: FoundFiles = try call.ask("hashes", AskHashes(paths: slice), seconds: Self.answerSeconds)
            guard found.entries.count == slice.count else { throw HostTrouble("its hashes are not those asked for") }
            for (index, entry) in found.entries.enumerated() { try take(begin + index, entry) }
        }
    }

    private func keepMissing() throws {
        try look(files.missing) { index, there in
            told(
                there.kind == .absent
                    ? Entry(path: files.missing[index], deed: .failed, cause: "neither here nor there")
                    : Entry(path: files.missing[index], deed: .kept))
        }
    }

    private func makeFolders() throws {
        try look(files.folders) { index, there in
            let path = files.folders[index]
            if there.kind == .folder {
                told(Entry(path: path, deed: .same))
            } else if there.kind == .absent {
                let _: ControlMessage.Nothing = try call.ask(
                    "folder", MakeFolder(path: path), seconds: Self.answerSeconds)
                told(Entry(path: path, deed: .made))
            } else {
                told(Entry(path: path, deed: .failed, cause: there.cause ?? "there it is no folder"))
            }
        }
    }

    private func bring(_ file: HostFiles.File, _ there: FoundFiles.Entry) throws {
        let descriptor = open(file.source.cString, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0, let hash = FileHash.of(descriptor: descriptor) else {
            let cause = String(cString: strerror(errno))
            if descriptor >= 0 { close(descriptor) }
            return told(Entry(path: file.path, deed: .failed, cause: "can't be read: \(cause)"))
        }
        defer { close(descriptor) }
        switch there.kind {
        case .file where there.hash == hash && there.isExecutable == file.isExecutable:
            told(Entry(path: file.path, deed: .same))
        case .folder: told(Entry(path: file.path, deed: .failed, cause: "there it is a folder"))
        case .other: told(Entry(path: file.path, deed: .failed, cause: there.cause ?? "there it is no file"))
        default:
            if let trouble = try send(file, descriptor, hash) {
                told(Entry(path: file.path, deed: .failed, cause: trouble))
            }
        }
    }

    /// Nil once it is there, else what is wrong with this one file.
    private func send(_ file: HostFiles.File, _ descriptor: Int32, _ hash: String) throws -> String? {
        var status = stat()
        fstat(descriptor, &status)
        let total = Int(status.st_size), upload = UInt64.random(in: 0 ... .max)
        var room = [UInt8](repeating: 0, count: PutPiece.longest)
        var offset = 0
        repeat {
            let count = pread(descriptor, &room, min(room.count, total - offset), offset)
            guard count > 0 || total == 0 else { return "changed while it was read; push it again" }
            let isLast = offset + count == total
            let _: TookPiece = try call.ask(
                "put",
                PutPiece(
                    upload: upload, path: file.path, offset: offset, total: total, isExecutable: file.isExecutable,
                    bytes: Data(room[..<count]), hash: isLast ? hash : nil),
                seconds: Self.answerSeconds)
            offset += count
        } while offset < total
        told(Entry(path: file.path, deed: .sent, bytes: total))
        return nil
    }
}
