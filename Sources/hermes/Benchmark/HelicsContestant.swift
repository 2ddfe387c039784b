import FoundationEssentials
import Glibc
import HermesProtocol

/// HELICS from PyPI, in a virtual environment that goes with the benchmark's folder.
struct HelicsContestant: BenchmarkContestant {
    let bench: BenchmarkPlace
    let version: String
    private let library: String

    private static let installSeconds = 600.0
    /// Where the package keeps its library, and its version.
    private static let look = """
        from glob import glob
        from importlib import metadata, util
        from os import path
        found = sorted(glob(path.join(path.dirname(util.find_spec("helics").origin), "**", "libhelics.so"), recursive=True))
        print(metadata.version("helics"))
        print(found[0] if found else "")
        """

    /// Installs it.
    /// - Throws: `RunFailure` that says what is missing: Python, its venv, or the way to PyPI.
    init(_ bench: BenchmarkPlace, note: (String) -> Void) throws {
        self.bench = bench
        let python = getenv("HERMES_PYTHON").map { String(cString: $0) } ?? "python3"
        let environment = "\(bench.folder.path)/venv"
        func step(_ command: [String], _ name: String, cure: String) throws -> BenchmarkChild.Ended {
            let ended = try BenchmarkChild(command, called: name, bench).finish(withinSeconds: Self.installSeconds)
            if ended.status >> 8 == 127 {
                throw RunFailure(
                    .resource,
                    cause: "there is no \(command[0]): --against helics installs HELICS with it; install Python 3.9 or "
                        + "later, or name one in HERMES_PYTHON")
            }
            guard ended.status == 0 else { throw RunFailure(.resource, cause: "\(cure): \(ended.lastWords)") }
            return ended
        }
        _ = try step(
            [python, "-m", "venv", environment], "python-venv",
            cure: "\(python) makes no virtual environment with pip (on Debian and Ubuntu: apt install python3-venv)")
        note("installing HELICS from PyPI into a virtual environment that goes again")
        let pip = ["\(environment)/bin/python", "-m", "pip", "install", "--no-input", "--no-cache-dir", "--quiet"]
        _ = try step(
            pip + ["--disable-pip-version-check", "--retries", "1", "helics"], "pip",
            cure: "HELICS can't be installed from PyPI (is there a network, or a mirror in pip's configuration?)")
        let found = try step(
            ["\(environment)/bin/python", "-c", Self.look], "helics", cure: "the package helics can't be used"
        ).output.split(whereSeparator: \.isNewline)
        guard found.count == 2 else {
            throw RunFailure(.resource, cause: "the package helics came without libhelics.so for this machine")
        }
        version = String(found[0])
        library = String(found[1])
    }

    func measure(_ shape: BenchmarkShape, frames: Int, warmUp: Int) throws -> Measurement {
        let numbers = [shape.hosts * shape.modules, shape.signals, frames, warmUp]
        let ended = try bench.run(
            [bench.programs.module, "helics", library] + numbers.map(String.init), called: "HELICS",
            withinSeconds: 120 + Double(frames) * 0.1)
        guard let measurement = BenchmarkReport(ended.output).measurement else {
            throw RunFailure(.protocolError, cause: "HELICS told no times: \(ended.lastWords)")
        }
        return measurement
    }
}
