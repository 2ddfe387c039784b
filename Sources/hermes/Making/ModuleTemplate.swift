import HermesNode
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

/// A folder of files with placeholders, one for each language (Templates/README.md).
struct ModuleTemplate {
    enum Language: String, CaseIterable { case c, cpp, rust, python, swift }

    private let folder: ByteString
    private let values: [(placeholder: ByteString, value: ByteString)]

    /// A letter, then letters, digits, - and _.
    static func isValidName(_ name: String) -> Bool {
        guard let first = name.utf8.first, isLetter(first), name.utf8.count <= 64 else { return false }
        return hermes.isValidName(name)
    }

    /// - Throws: `RunFailure` when this program came without templates.
    init(language: Language, installation: Installation = .here) throws {
        guard let templates = installation.templates else {
            throw RunFailure(.resource, cause: "the templates are missing beside this program; install hermes again")
        }
        folder = "\(templates)/\(language.rawValue)"
        values = installation.developmentPaths.map { (ByteString($0.placeholder), $0.value) }
    }

    /// Writes the module's folder.
    /// - Returns: the files made, relative to it.
    /// - Throws: `RunFailure` when the folder exists or can't be written.
    func make(_ name: String, in parent: String) throws -> [String] {
        let target = parent == "." ? name : "\(parent)/\(name)"
        // A file hermes.py would hide the package of that name.
        guard name != "hermes" else { throw failure("a module can't be called hermes: that is the library's name") }
        guard mkdir(target, 0o777) == 0 else {
            throw failure(
                errno == EEXIST
                    ? "\(target) exists already; choose another name or remove it"
                    : "can't make \(target): \(String(cString: strerror(errno)))")
        }
        let word = ByteString(name)
        let replacements = [("{{name}}", word), ("{{Type}}", ByteString(Self.camelCase(name)))] + values
        return try files(beneath: "").map { file in
            var made = file.replacing("__name__", with: word)
            if made.hasSuffix(".template") { made = made.dropLast(".template".utf8.count) }
            let template = folder.appendingPath(file)
            var content = try read(template)
            for (placeholder, value) in replacements { content = content.replacing(placeholder, with: value) }
            try write(content, to: "\(target)/\(made)", isExecutable: access(template.cString, X_OK) == 0)
            return made.description
        }.sorted()
    }

    /// `fuel-tank` gives `FuelTank`.
    static func camelCase(_ name: String) -> String {
        name.split { $0 == "-" || $0 == "_" }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private func files(beneath path: ByteString) throws -> [ByteString] {
        try Folder.entries(of: folder.appendingPath(path)).flatMap { name in
            let inner = path.appendingPath(name)
            var status = stat()
            guard lstat(folder.appendingPath(inner).cString, &status) == 0 else { return [ByteString]() }
            return status.st_mode & S_IFMT == S_IFDIR ? try files(beneath: inner) : [inner]
        }
    }

    private func read(_ path: ByteString) throws -> ByteString {
        guard let file = fopen(path.cString, "r") else {
            throw failure("can't read \(path): \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var content = ByteString.empty
        var room = [UInt8](repeating: 0, count: 1 << 14)
        while case let count = fread(&room, 1, room.count, file), count > 0 { content.bytes += room[..<count] }
        return content
    }

    private func write(_ content: ByteString, to path: ByteString, isExecutable: Bool) throws {
        var made: ByteString = path.isAbsolutePath ? "/" : ""
        for part in path.pathComponents.dropLast() {
            made = made.appendingPath(part)
            mkdir(made.cString, 0o777)
        }
        guard let file = fopen(path.cString, "wx") else {
            throw failure("can't make \(path): \(String(cString: strerror(errno)))")
        }
        let isWritten = fwrite(content.bytes, 1, content.count, file) == content.count
        guard fclose(file) == 0, isWritten else {
            throw failure("can't write \(path): \(String(cString: strerror(errno)))")
        }
        if isExecutable { chmod(path.cString, 0o777 & ~currentUmask()) }
    }

    private func currentUmask() -> mode_t {
        let mask = umask(0)
        umask(mask)
        return mask
    }

    private func failure(_ sentence: String) -> RunFailure { RunFailure(.resource, cause: sentence) }
}
