import Glibc
import Synchronization

/// What a file is, whatever names lead to it.
public struct FileIdentity: Hashable, Sendable {
    public let device, inode: UInt64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }

    /// Of what a path leads to; nil when nothing is there.
    public init?(of path: ByteString) {
        var status = stat()
        guard path.withCString({ stat($0, &status) }) == 0 else { return nil }
        self.init(status)
    }
}

/// Why an output can't be had: one sentence, what to do included.
public struct OutputError: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// What was asked for makes no sense: an input would be overwritten, or two outputs are one file.
        case usage
        /// Another process writes it.
        case isInUse
        /// The system refuses it.
        case system
    }
    public var kind: Kind
    public var description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A file that a command writes for its user. It is opened once, before anything starts, and kept: what later changes the
/// working folder or puts a link in the way changes nothing. It is locked as long as it is open, so that two processes
/// never write one file, and it stays as it was until `begin`.
public final class OutputFile: @unchecked Sendable {
    /// As the user named it.
    public let path: ByteString
    /// To be asked for after `begin`.
    public private(set) var descriptor: Int32
    let identity: FileIdentity
    /// A plain file of this process's own, that can be cut and has others beside it. Not so: a FIFO, a device, and what
    /// the process was given open, as `/dev/stdout` names it.
    public let isPlain: Bool
    /// The descriptor is one that the process was given (`/dev/stdout`, `/dev/fd/N`): a copy of it, with the same offset and
    /// the same flags as everybody else's.
    public let isInherited: Bool
    /// Standard output itself.
    public let isStandardOutput: Bool
    private let folder: Int32
    private let name: ByteString
    /// The folder and name it really has, where it was made by `open`.
    private let made: (folder: Int32, name: ByteString)?
    private let hasBegun = Atomic<Bool>(false)
    /// A FIFO without a reader so far: the descriptor stands for its place.
    private var awaitsReader: Bool
    private let files: OutputFiles
    private let option: String

    fileprivate init(
        _ path: ByteString, _ opened: Opened, folder: Int32, name: ByteString, option: String, files: OutputFiles
    ) {
        self.path = path
        descriptor = opened.descriptor
        identity = opened.identity
        isPlain = opened.isRegular && opened.inherited == nil
        isInherited = opened.inherited != nil
        isStandardOutput = opened.inherited == STDOUT_FILENO
        self.folder = folder
        self.name = name
        made = opened.made
        awaitsReader = opened.awaitsReader
        self.option = option
        self.files = files
    }

    deinit {
        close(descriptor)
        if folder >= 0 { close(folder) }
        if let made { close(made.folder) }
    }

    /// Empties it: from here on it is this run's.
    public func begin() throws(OutputError) {
        hasBegun.store(true, ordering: .relaxed)
        if awaitsReader { try meetReader() }
        guard isPlain else { return }
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw failure() }
    }

    /// How long a reader of a FIFO may take to be there.
    private static let readerSeconds = 2.0

    private func meetReader() throws(OutputError) {
        let giveUp = deadline(after: Self.readerSeconds)
        var writer: Int32
        repeat {
            writer = open("/proc/self/fd/\(descriptor)", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
            if writer >= 0 { break }
            guard errno == ENXIO else { throw failure() }
            usleep(10_000)
        } while monotonicNow() < giveUp
        guard writer >= 0 else {
            throw OutputError(
                .system, "\(path) can't be written: nobody reads from it; start what reads this FIFO first")
        }
        guard flock(writer, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
            close(writer)
            throw OutputError(.isInUse, "\(path) is being written by another process; wait for its end")
        }
        close(descriptor)
        descriptor = writer
        awaitsReader = false
    }

    private func failure(_ code: Int32 = errno) -> OutputError {
        OutputError(.system, SystemError("\(path) can't be written", code: code).description)
    }

    /// All that is ever written to it; waits for a slow reader.
    public func write(_ bytes: [UInt8]) throws(OutputError) {
        try begin()
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + sent, $0.count - sent) }
            if count > 0 {
                sent += count
            } else if count < 0 && errno == EAGAIN {
                var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&room, 1, -1)
            } else if count == 0 || errno != EINTR {
                throw failure(count == 0 ? EIO : errno)
            }
        }
        // A file system of the network tells of a full disk by the answer to `close`.
        let copy = dup(descriptor)
        guard copy >= 0, close(copy) == 0 else { throw failure() }
    }

    /// A further file in the same folder, whatever the working folder is by now.
    /// - Parameters:
    ///   - rename: its name, from this one's.
    ///   - beginning: what a file that is there already must begin with to be taken for an older one of its kind, and
    ///     overwritten: the user has not named it.
    public func beside(
        beginning: String, _ rename: (ByteString) -> ByteString
    ) throws(OutputError) -> OutputFile {
        let other = rename(name)
        let shown = path.contains(UInt8(ascii: "/")) ? path.parentPath.appendingPath(other) : other
        let opened = try Opened(in: folder, other, shown: shown)
        let file = OutputFile(
            shown, opened, folder: fcntl(folder, duplicateClosedOnExec, 0), name: other, option: option, files: files)
        try files.compare(file, option)
        var found = [UInt8](repeating: 0, count: beginning.utf8.count)
        let count = pread(file.descriptor, &found, found.count, 0)
        guard file.isPlain, count == 0 || count == found.count && found.elementsEqual(beginning.utf8) else {
            throw OutputError(
                .usage,
                "\(shown) is there already and nothing that `\(option)` wrote; move it away or give \(option) another name"
            )
        }
        return file
    }

    /// Removes it if it was made here and nothing was ever to be in it.
    fileprivate func discard() {
        guard let made, !hasBegun.load(ordering: .relaxed) else { return }
        var there = stat()
        guard made.name.withCString({ fstatat(made.folder, $0, &there, AT_SYMLINK_NOFOLLOW) }) == 0,
            FileIdentity(there) == identity, there.st_size == 0
        else { return }
        _ = made.name.withCString { unlinkat(made.folder, $0, 0) }
    }
}

/// The outputs of one command, held against what it reads and against each other.
public final class OutputFiles: @unchecked Sendable {
    private let inputs: [FileIdentity: String]
    private let outputs = Mutex<[(option: String, identity: FileIdentity, isInherited: Bool, file: WeakFile)]>([])
    private var kept: [OutputFile] = []

    private struct WeakFile: @unchecked Sendable { weak var file: OutputFile? }

    /// - Parameter inputs: what the command reads, each with a word for what it is.
    public init(inputs: [(what: String, path: ByteString)]) {
        let found = inputs.compactMap { input in
            FileIdentity(of: input.path).map { ($0, "\(input.what) \(input.path)") }
        }
        self.inputs = Dictionary(found, uniquingKeysWith: { first, _ in first })
    }

    /// Opens and locks a file; what is in it stays.
    /// - Parameters:
    ///   - option: that named it, for messages.
    ///   - endings: of plain files, in lower case; a name without an ending is taken, too. Nil: any.
    public func open(
        _ path: ByteString, for option: String, endings: [String]? = nil
    ) throws(OutputError) -> OutputFile {
        guard !path.isEmpty else { throw OutputError(.usage, "\(option) takes a file's name") }
        if let endings { try checkEnding(of: path, option, endings) }
        let opened: Opened
        switch try Place(of: path) {
        case .inherited(let number): opened = try Opened(inherited: number, shown: path)
        case .file(let folder, let name):
            // The folder it really lies in, which a link may have led to.
            defer { close(folder) }
            opened = try Opened(in: folder, name, shown: path)
        }
        // The folder by which the user named it, where others are to lie beside it.
        let folder = path.parentPath.withCString { Glibc.open($0, openPath | O_DIRECTORY | O_CLOEXEC) }
        let file = OutputFile(
            path, opened, folder: folder, name: path.lastPathComponent, option: option, files: self)
        do throws(OutputError) {
            try compare(file, option)
        } catch {
            file.discard()
            throw error
        }
        kept.append(file)
        return file
    }

    /// Removes files that were made for nothing: the run never began.
    public func discardUnused() { for file in kept { file.discard() } }

    fileprivate func compare(_ file: OutputFile, _ option: String) throws(OutputError) {
        if let input = inputs[file.identity] {
            throw OutputError(
                .usage, "\(option) \(file.path) would overwrite \(input), which is read; name another file")
        }
        let same = outputs.withLock { outputs -> (option: String, isSame: Bool)? in
            outputs.removeAll { $0.file.file == nil }
            let same = outputs.first {
                // What was given open has one offset, however many write there: nothing is overwritten.
                $0.identity == file.identity && !($0.isInherited && file.isInherited)
            }
            if let same { return (same.option, true) }
            outputs.append((option, file.identity, file.isInherited, WeakFile(file: file)))
            return nil
        }
        if let same {
            throw OutputError(
                .usage, "\(option) \(file.path) and \(same.option) are one file; give each a file of its own")
        }
        guard !file.isInherited, file.isPlain else { return }
        for (number, words) in [(STDOUT_FILENO, "standard output"), (STDERR_FILENO, "standard error")] {
            var status = stat()
            guard fstat(number, &status) == 0, FileIdentity(status) == file.identity,
                fcntl(number, F_GETFL) & O_ACCMODE != O_RDONLY
            else { continue }
            let device = number == STDOUT_FILENO ? "/dev/stdout" : "/dev/stderr"
            throw OutputError(
                .usage,
                "\(option) \(file.path) is the file that \(words) goes to; name another, or write \(option) \(device)")
        }
    }

    private func checkEnding(of path: ByteString, _ option: String, _ endings: [String]) throws(OutputError) {
        let name = path.lastPathComponent.bytes
        guard let dot = name.lastIndex(of: UInt8(ascii: ".")), dot > 0, dot + 1 < name.count else { return }
        // A FIFO or a device is no file of any format.
        var status = stat()
        if path.withCString({ stat($0, &status) }) == 0, status.st_mode & S_IFMT != S_IFREG { return }
        let ending = ByteString(bytes: name[(dot + 1)...])
        if let text = ending.text, endings.contains(text.lowercased()) { return }
        let known = endings.map { ".\($0)" }.joined(separator: ", ")
        throw OutputError(
            .usage, "\(option) \(path): no format is known by the ending .\(ending); this version writes \(known)")
    }
}

/// O_PATH and F_DUPFD_CLOEXEC, which <fcntl.h> shows to GNU sources only.
private let openPath: Int32 = 0o10000000
private let duplicateClosedOnExec: Int32 = 1030

/// Where a path leads, links followed by hand: the kernel opens `/dev/stdout` anew, with an offset of its own, and not at all
/// where it is a socket.
private enum Place {
    /// A descriptor of this process.
    case inherited(Int32)
    /// An open folder and a name in it that is no link.
    case file(folder: Int32, name: ByteString)

    init(of path: ByteString) throws(OutputError) {
        var current = path
        for _ in 0..<40 {
            let name = current.lastPathComponent
            guard !name.isEmpty else { throw Self.failure(path, EISDIR) }
            guard let folder = current.parentPath.withCString({ realpath($0, nil) }) else {
                throw Self.failure(path, errno)
            }
            defer { free(folder) }
            let real = ByteString(cString: folder)
            let isOfProcess = Self.isDescriptorFolder(real)
            if isOfProcess.own, let number = name.text.flatMap({ Int32($0) }) {
                self = .inherited(number)
                return
            }
            var room = [CChar](repeating: 0, count: Int(PATH_MAX))
            let full = real.appendingPath(name)
            let length = isOfProcess.any ? -1 : full.withCString { readlink($0, &room, room.count) }
            guard length > 0 else {
                let descriptor = open(folder, openPath | O_DIRECTORY | O_CLOEXEC)
                guard descriptor >= 0 else { throw Self.failure(path, errno) }
                self = .file(folder: descriptor, name: name)
                return
            }
            current = real.appendingPath(ByteString(bytes: room[..<length].map { UInt8(bitPattern: $0) }))
        }
        throw Self.failure(path, ELOOP)
    }

    /// `/proc/PID/fd` and `/proc/PID/task/TID/fd`, of this process and of any.
    private static func isDescriptorFolder(_ path: ByteString) -> (own: Bool, any: Bool) {
        let parts = path.pathComponents
        guard parts.count == 3 || parts.count == 5, parts[0] == "proc", parts.last == "fd" else {
            return (false, false)
        }
        return (parts[1] == ByteString("\(getpid())"), true)
    }

    private static func failure(_ path: ByteString, _ code: Int32) -> OutputError {
        OutputError(.system, SystemError("\(path) can't be written", code: code).description)
    }
}

/// An open file with its lock.
private struct Opened {
    var descriptor: Int32 = -1
    var identity = FileIdentity(stat())
    var isRegular = false
    /// The number that it is a copy of.
    var inherited: Int32?
    var made: (folder: Int32, name: ByteString)?
    /// It is a FIFO that has no reader yet.
    var awaitsReader = false

    /// How long a run that was killed may still be clearing up behind itself.
    private static let clearingSeconds = 4.0

    init(inherited number: Int32, shown path: ByteString) throws(OutputError) {
        let flags = fcntl(number, F_GETFL)
        guard flags >= 0 else {
            throw OutputError(.system, "\(path) can't be written: no file is open there; redirect one to it")
        }
        guard flags & O_ACCMODE != O_RDONLY else {
            throw OutputError(.system, "\(path) can't be written: it is open for reading only")
        }
        descriptor = fcntl(number, duplicateClosedOnExec, 3)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            throw OutputError(.system, SystemError("\(path) can't be written").description)
        }
        identity = FileIdentity(status)
        isRegular = status.st_mode & S_IFMT == S_IFREG
        inherited = number
    }

    init(in folder: Int32, _ name: ByteString, shown path: ByteString) throws(OutputError) {
        let giveUp = deadline(after: Self.clearingSeconds)
        while true {
            let isMade: Bool
            (descriptor, isMade, awaitsReader) = try Self.open(folder, name, path)
            var status = stat()
            guard fstat(descriptor, &status) == 0 else {
                defer { close(descriptor) }
                throw OutputError(.system, SystemError("\(path) can't be written").description)
            }
            identity = FileIdentity(status)
            let kind = status.st_mode & S_IFMT
            isRegular = kind == S_IFREG
            // Any number of processes write to a terminal or to /dev/null.
            guard isRegular || kind == S_IFIFO, !awaitsReader else { return }
            // Some file systems have no locks; there it is as it was before there were any.
            let isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
            var named = stat()
            let isStillThere =
                name.withCString { fstatat(folder, $0, &named, 0) } == 0 && FileIdentity(named) == identity
            if isLocked && isStillThere {
                if isMade { made = (fcntl(folder, duplicateClosedOnExec, 3), name) }
                return
            }
            let holder = isLocked ? nil : LockHolder(of: identity)
            // By another name: `compare` says so.
            if holder?.pid == getpid() { return }
            close(descriptor)
            // Another made it for nothing and has removed it.
            if isLocked { continue }
            if holder.map({ $0.isAlive }) == true || monotonicNow() > giveUp {
                let who = holder.map { "\($0)" } ?? "another process"
                throw OutputError(
                    .isInUse, "\(path) is being written by \(who); wait for its end, or name another file")
            }
            usleep(20_000)
        }
    }

    private static func open(
        _ folder: Int32, _ name: ByteString, _ path: ByteString
    ) throws(OutputError) -> (descriptor: Int32, isMade: Bool, awaitsReader: Bool) {
        // Neither a FIFO nor a terminal that nobody takes from holds up a call that can't be given up.
        let flags = O_NONBLOCK | O_CLOEXEC | O_NOCTTY
        func attempt(_ more: Int32) -> Int32 {
            name.withCString { openat(folder, $0, flags | more, 0o644) }
        }
        while true {
            var status = stat()
            let isThere = name.withCString { fstatat(folder, $0, &status, 0) } == 0
            let kind = isThere ? status.st_mode & S_IFMT : S_IFREG
            // The keeper reads a recording to find its last whole row.
            var descriptor = attempt(kind == S_IFREG ? O_RDWR : O_WRONLY)
            if descriptor < 0 && errno == EACCES { descriptor = attempt(O_WRONLY) }
            if descriptor >= 0 { return (descriptor, false, false) }
            switch errno {
            case ENOENT:
                descriptor = attempt(O_RDWR | O_CREAT | O_EXCL)
                if descriptor >= 0 { return (descriptor, true, false) }
                if errno == EEXIST { continue }
            case ENXIO where kind == S_IFSOCK:
                throw OutputError(.system, "\(path) can't be written: it is a socket, not a file")
            case ENXIO where kind == S_IFIFO:
                descriptor = attempt(openPath)
                if descriptor >= 0 { return (descriptor, false, true) }
            default: break
            }
            throw OutputError(.system, SystemError("\(path) can't be written").description)
        }
    }
}

/// Who has a file locked, as the kernel tells it.
private struct LockHolder: CustomStringConvertible {
    let pid: Int32

    init?(of identity: FileIdentity) {
        for line in SystemLines("/proc/locks") {
            // 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END
            let words = line.split(separator: " ")
            guard words.count > 5, words[1] == "FLOCK", let pid = Int32(words[4]), pid > 0,
                words[5].split(separator: ":").last == "\(identity.inode)"
            else { continue }
            self.pid = pid
            return
        }
        return nil
    }

    /// False for one that is gone and whose keeper still clears up.
    var isAlive: Bool { kill(pid, 0) == 0 || errno == EPERM }

    var description: String {
        let command = SystemLines("/proc/\(pid)/cmdline").next().map { text in
            ByteString(bytes: text.utf8.map { $0 == 0 ? UInt8(ascii: " ") : $0 }).description
        }
        guard let command = command?.split(separator: " ").joined(separator: " "), !command.isEmpty else {
            return "process \(pid)"
        }
        return "process \(pid) (\(command.prefix(120)))"
    }
}
