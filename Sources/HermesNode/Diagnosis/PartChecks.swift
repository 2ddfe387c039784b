import Glibc
import HermesProtocol
import HermesSystem
import HermesTransport

/// The parts that come with hermes and those it needs.
struct PartChecks {
    let program: String

    var findings: [Finding] {
        [.fine(program, hermesVersion), zeroMQ, .fine("libsodium", TransportLibraries.sodium)]
            + [Self.library, Self.package, Self.python]
    }

    private var zeroMQ: Finding {
        let version = TransportLibraries.zeroMQ
        return TransportLibraries.hasCurve
            ? .fine("libzmq", "\(version), with CURVE")
            : .broken(
                "libzmq", "\(version), without CURVE: no keys, so no hosts off loopback",
                cure: "install a libzmq that was built with libsodium")
    }

    private static var library: Finding {
        guard let path = Installation.here.library else {
            return .broken(
                "libhermes", "libhermes.so is missing beside this program",
                cure: "make library, or install hermes again")
        }
        guard let handle = dlopen(path.cString, RTLD_NOW | RTLD_LOCAL) else {
            return .broken(
                "libhermes", "\(path): \(String(cString: dlerror()))", cure: "make library, or install hermes again")
        }
        defer { dlclose(handle) }
        return dlsym(handle, "hermes_client_open") == nil
            ? .broken("libhermes", "\(path) is not of this version", cure: "make library, or install hermes again")
            : .fine("libhermes", "\(path)")
    }

    private static var package: Finding {
        guard let path = Installation.here.pythonPath else {
            return .broken(
                "Python package", "the package hermes is missing beside this program", cure: "install hermes again")
        }
        return .fine("Python package", "\(path)/hermes")
    }

    private static var python: Finding {
        let wanted = getenv("HERMES_PYTHON").map { ByteString(cString: $0) } ?? "python3"
        let cure = "install Python 3.9 or later, or name one in HERMES_PYTHON"
        let path = Installation.here.pythonPath ?? ""
        // It says its version once it could load the package, which loads libhermes.
        let script: ByteString = "import sys, os; print(sys.version.split()[0]); sys.stdout.flush(); import hermes"
        let library = Installation.here.library ?? ""
        let command: ByteString =
            "PYTHONPATH=\(quoted(path)) HERMES_LIBRARY=\(quoted(library)) \(quoted(wanted)) -c \(quoted(script)) 2>&1"
        guard let output = popen(command.cString, "r") else {
            return .poor("python3", "can't be started", cure: cure)
        }
        var lines: [String] = []
        var room = [CChar](repeating: 0, count: 4096)
        while fgets(&room, Int32(room.count), output) != nil {
            lines.append(
                String(decoding: room.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        let status = pclose(output)
        if status == 0, let version = lines.first { return .fine("python3", "\(version), with the package hermes") }
        if status >> 8 == 127 {
            return .poor("python3", "there is no \(wanted): scripts in Python can't run", cure: cure)
        }
        return .broken("python3", lines.last ?? "\(wanted) failed", cure: cure)
    }

    private static func quoted(_ text: ByteString) -> ByteString {
        let parts = text.bytes.split(separator: UInt8(ascii: "'"), omittingEmptySubsequences: false)
        return "'\(ByteString(bytes: parts.joined(separator: Array("'\\''".utf8))))'"
    }
}
