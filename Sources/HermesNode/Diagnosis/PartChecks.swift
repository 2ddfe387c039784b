import Glibc
import HermesProtocol
import HermesSystem
import HermesTransport

/// The parts that come with hermes and those it needs.
struct PartChecks {
    let program: String

    /// - Parameter isWanted: asked while it takes its time.
    func findings(isWanted: () -> Bool) -> [Finding] {
        [.fine(program, hermesVersion), zeroMQ, .fine("libsodium", TransportLibraries.sodium)]
            + [Self.library, Self.package, Self.python(isWanted: isWanted)]
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

    /// Seconds that the interpreter has, package and library included; on a loaded machine a second is usual.
    private static let pythonSeconds = 10.0

    private static func python(isWanted: () -> Bool) -> Finding {
        let named = getenv("HERMES_PYTHON").map { ByteString(cString: $0) } ?? ""
        let wanted = named.isEmpty ? "python3" : named
        let cure = "install Python 3.9 or later, or name one in HERMES_PYTHON"
        // It says its version once it could load the package, which loads libhermes.
        let script: ByteString = "import sys, os; print(sys.version.split()[0]); sys.stdout.flush(); import hermes"
        let outcome = Probe.run(
            [wanted, "-c", script],
            environment: [
                ("PYTHONPATH", Installation.here.pythonPath ?? ""), ("HERMES_LIBRARY", Installation.here.library ?? ""),
            ], seconds: pythonSeconds, isWanted: isWanted)
        switch outcome {
        case .ended(status: 0, let lines) where !lines.isEmpty:
            return .fine("python3", "\(lines[0]), with the package hermes")
        case .ended(_, let lines): return .broken("python3", lines.last ?? "\(wanted) failed", cure: cure)
        case .notStarted(let error) where error.code == ENOENT:
            return .poor("python3", "there is no \(wanted): scripts in Python can't run", cure: cure)
        case .notStarted(let error): return .broken("python3", "\(error)", cure: cure)
        case .timedOut:
            return .broken(
                "python3", "\(wanted) has not answered within \(Int(pythonSeconds)) s: it hangs",
                cure: "run `\(wanted) -c 'import hermes'` to see where, or name another in HERMES_PYTHON")
        case .unwanted: return .poor("python3", "not looked at: interrupted", cure: "ask again")
        }
    }
}
