import Glibc

/// Why the kernel would not start a file, in words: errno alone says "No such file" of a script whose interpreter is
/// missing, and "Permission denied" of a program on a file system that starts none.
public struct ProgramFile {
    public let path: ByteString
    private var status = stat()
    private let isThere: Bool
    /// What the file begins with.
    private let head: [UInt8]

    private static let headSize = 4096

    public init(_ path: ByteString) {
        self.path = path
        var status = stat()
        isThere = path.withCString { stat($0, &status) } == 0
        self.status = status
        guard isThere, status.st_mode & S_IFMT == S_IFREG else {
            head = []
            return
        }
        let file = path.withCString { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard file >= 0 else {
            head = []
            return
        }
        defer { close(file) }
        var room = [UInt8](repeating: 0, count: Self.headSize)
        let count = read(file, &room, room.count)
        head = Array(room[..<max(count, 0)])
    }

    /// What is certain to go wrong, before it is tried; nil where nothing is. One sentence without a subject, with what to do.
    public var fault: String? {
        guard isThere else { return nil }
        return permissionFault ?? interpreterFault ?? loaderFault
    }

    /// What went wrong when the kernel was asked to start it.
    /// - Parameter directory: where the process was to begin.
    public func reason(_ code: Int32, directory: ByteString) -> String {
        if let fault = Self.folderFault(directory) { return fault }
        let words = SystemError.startReason(code)
        switch code {
        case ENOENT where !isThere: return words
        case ENOENT: return interpreterFault ?? loaderFault ?? "\(words), though the file is there"
        case EACCES: return permissionFault ?? interpreterFault ?? words
        case ENOEXEC: return formatFault ?? interpreterFault ?? words
        case ETXTBSY:
            return "it is being written (\(words)); wait until the copy or the build is done, or end what holds it open"
        case E2BIG:
            return
                "\(words): `args` and `env` take more room than the system gives a program (`getconf ARG_MAX`); shorten them"
        case ELIBBAD, ENOTDIR, EISDIR, ELOOP: return interpreterFault ?? loaderFault ?? words
        default: return words
        }
    }

    // MARK: The parts

    private var permissionFault: String? {
        if status.st_mode & S_IFMT == S_IFDIR { return "it is a directory, not a program" }
        guard path.withCString({ access($0, X_OK) }) != 0, errno == EACCES else { return nil }
        if Self.isOnNoexec(path) { return Self.noexecWords(path) }
        if status.st_mode & 0o111 == 0 { return "it is not executable; make it so with `chmod +x`" }
        return "this user may not execute it; see to its mode and owner with `ls -l`"
    }

    /// Of the `#!` line.
    private var interpreterFault: String? {
        guard let interpreter else { return nil }
        let name = interpreter.name
        if name.bytes.isEmpty { return "its `#!` line names no interpreter" }
        if interpreter.line.bytes.last == 13 {
            let bare = ByteString(bytes: name.bytes.filter { $0 != 13 })
            return
                "its first line ends in CR LF, as editors on Windows write it, so the system looks for an interpreter "
                + "named '\(bare)\\r'; write it with LF: sed -i 's/\\r$//' \(path)"
        }
        var status = stat()
        guard name.withCString({ stat($0, &status) }) == 0 else {
            return
                "its `#!` line asks for the interpreter \(name), which is not there; install it, or correct the line"
        }
        if name.withCString({ access($0, X_OK) }) != 0 {
            if Self.isOnNoexec(name) { return Self.noexecWords(name) }
            return "its `#!` line asks for the interpreter \(name), which this user may not execute"
        }
        // Without a second `#!` line, which the kernel follows too, there is the loader of the interpreter.
        return ProgramFile(name).loaderFault.map { "its interpreter \(name) can't be run: \($0)" }
    }

    /// `#!NAME ARGUMENT`; nil for what is no script.
    private var interpreter: (name: ByteString, line: ByteString)? {
        guard head.starts(with: [UInt8(ascii: "#"), UInt8(ascii: "!")]) else { return nil }
        let line = head.dropFirst(2).prefix { $0 != 10 }
        let isBlank = { (byte: UInt8) in byte == 32 || byte == 9 }
        let name = line.drop(while: isBlank).prefix { !isBlank($0) }
        return (ByteString(bytes: name), ByteString(bytes: line))
    }

    /// The script's first line ends in CR LF: what it hands to `env` has a CR at its end.
    public var hasCarriageReturn: Bool { interpreter?.line.bytes.last == 13 }

    private static let elfMagic: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]

    private var isELF: Bool { head.starts(with: Self.elfMagic) && head.count >= 64 }

    /// ELF's number of the processor; little-endian, as all machines are that Hermes runs on.
    private var machine: Int { isELF ? number(18, 2) : 0 }

    private static var ownMachine: Int {
        #if arch(x86_64)
            62
        #elseif arch(arm64)
            183
        #else
            0
        #endif
    }

    private func number(_ offset: Int, _ size: Int) -> Int {
        guard offset >= 0, offset + size <= head.count else { return 0 }
        return head[offset..<offset + size].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    /// Of a program that is linked to a loader (PT_INTERP), as nearly all are.
    private var loaderFault: String? {
        guard isELF, let loader, !loader.isEmpty else { return nil }
        var status = stat()
        guard loader.withCString({ stat($0, &status) }) != 0 else { return nil }
        return
            "it needs the loader \(loader), which is not there: it was built for another system or another C library; "
            + "build it here, link it statically, or install what brings that loader"
    }

    private var loader: ByteString? {
        let is64 = head[4] == 2
        let table = is64 ? number(32, 6) : number(28, 4)
        let entrySize = number(is64 ? 54 : 42, 2), count = number(is64 ? 56 : 44, 2)
        guard entrySize > 0, count < 1000 else { return nil }
        for index in 0..<count {
            let entry = table + index * entrySize
            guard entry + entrySize <= head.count, number(entry, 4) == 3 else { continue }
            let offset = is64 ? number(entry + 8, 6) : number(entry + 4, 4)
            guard offset < head.count else { return nil }
            return ByteString(bytes: head[offset...].prefix { $0 != 0 })
        }
        return nil
    }

    private var formatFault: String? {
        if isELF {
            if machine == Self.ownMachine { return nil }
            let own = Self.machineName(Self.ownMachine)
            return
                "it is built for \(Self.machineName(machine)), this machine is \(own); build it for \(own) (`file` shows what it is)"
        }
        if status.st_size == 0 { return "the file is empty; was its copy or build cut short?" }
        if interpreter != nil { return nil }
        if head.starts(with: [0x4D, 0x5A]) { return "it is a program for Windows; build it for Linux" }
        if [[0xCF, 0xFA, 0xED, 0xFE], [0xCA, 0xFE, 0xBA, 0xBE]].contains(Array(head.prefix(4))) {
            return "it is a program for macOS; build it for Linux"
        }
        return "it is neither a program of this machine nor a script with a `#!` line; begin a script with one, "
            + "as #!/bin/sh"
    }

    private static func machineName(_ number: Int) -> String {
        switch number {
        case 3: "x86 with 32 bits"
        case 8: "MIPS"
        case 21: "ppc64"
        case 22: "s390x"
        case 40: "ARM with 32 bits"
        case 62: "x86_64"
        case 183: "aarch64"
        case 243: "RISC-V"
        default: "another processor (\(number))"
        }
    }

    // MARK: Places

    /// ST_NOEXEC, which <sys/statvfs.h> shows to GNU sources only.
    private static let noexec: UInt = 8

    /// The file system that a path lies on starts no programs.
    public static func isOnNoexec(_ path: ByteString) -> Bool {
        var system = statvfs()
        return path.withCString { statvfs($0, &system) } == 0 && UInt(system.f_flag) & noexec != 0
    }

    public static func noexecWords(_ path: ByteString) -> String {
        "\(path) lies on a file system that is mounted noexec, which starts no programs whatever their mode; put it "
            + "elsewhere, or mount that without noexec (`findmnt -T \(path)`)"
    }

    /// What keeps a process from beginning in a folder.
    private static func folderFault(_ path: ByteString) -> String? {
        var status = stat()
        guard path.withCString({ stat($0, &status) }) == 0 else {
            return "its working folder \(path) can't be entered: \(SystemError.reason(errno))"
        }
        if status.st_mode & S_IFMT != S_IFDIR { return "its working folder \(path) is no folder" }
        guard path.withCString({ access($0, X_OK) }) == 0 else {
            return "its working folder \(path) can't be entered: \(SystemError.reason(errno))"
        }
        return nil
    }
}
