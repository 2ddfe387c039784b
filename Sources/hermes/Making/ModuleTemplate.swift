import HermesNode
import Glibc
import HermesModel
import HermesProtocol

/// A folder of files with placeholders, one for each language (Templates/README.md).
struct ModuleTemplate {
    enum Language: String, CaseIterable { case c, cpp, rust, python, swift }

    private let folder: String
    private let values: [(placeholder: String, value: String)]

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
        values = installation.developmentPaths
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
        let replacements = [("{{name}}", name), ("{{Type}}", Self.camelCase(name))] + values
        return try files(beneath: "").map { file in
            var made = file.replacing("__name__", with: name)
            if made.hasSuffix(".template") { made.removeLast(".template".count) }
            var text = try read("\(folder)/\(file)")
            for (placeholder, value) in replacements { text = text.replacing(placeholder, with: value) }
            try write(text, to: "\(target)/\(made)", isExecutable: access("\(folder)/\(file)", X_OK) == 0)
            return made
        }.sorted()
    }

    /// `fuel-tank` gives `FuelTank`.
    static func camelCase(_ name: String) -> String {
        name.split { $0 == "-" || $0 == "_" }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private func files(beneath path: String) throws -> [String] {
        guard let opened = opendir("\(folder)/\(path)") else {
            throw failure("can't read \(folder): \(String(cString: strerror(errno)))")
        }
        defer { closedir(opened) }
        var found: [String] = []
        while let entry = readdir(opened) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            let inner = path.isEmpty ? name : "\(path)/\(name)"
            var status = stat()
            guard lstat("\(folder)/\(inner)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                found += try files(beneath: inner)
            } else {
                found.append(inner)
            }
        }
        return found
    }

    private func read(_ path: String) throws -> String {
        guard let file = fopen(path, "r") else {
            throw failure("can't read \(path): \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 1 << 14)
        while case let count = fread(&room, 1, room.count, file), count > 0 { bytes += room[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func write(_ text: String, to path: String, isExecutable: Bool) throws {
        var made = ""
        for part in path.split(separator: "/").dropLast() {
            made += (made.isEmpty && !path.hasPrefix("/") ? "" : "/") + part
            mkdir(made, 0o777)
        }
        guard let file = fopen(path, "wx") else {
            throw failure("can't make \(path): \(String(cString: strerror(errno)))")
        }
        let isWritten = fputs(text, file) >= 0
        guard fclose(file) == 0, isWritten else {
            throw failure("can't write \(path): \(String(cString: strerror(errno)))")
        }
        if isExecutable { chmod(path, 0o777 & ~currentUmask()) }
    }

    private func currentUmask() -> mode_t {
        let mask = umask(0)
        umask(mask)
        return mask
    }

    private func failure(_ sentence: String) -> RunFailure { RunFailure(.resource, cause: sentence) }
}
