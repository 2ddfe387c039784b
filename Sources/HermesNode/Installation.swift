import Glibc
import HermesModel
import HermesSystem

/// Where the parts that come with the program lie: beside an installed one or in the checkout it was built in.
public struct Installation: Sendable {
    /// Folder that holds the `hermes` Python package.
    public var pythonPath: ByteString?
    /// libhermes.so.
    public var library: ByteString?
    /// Folder with a template for each language.
    public var templates: ByteString?
    /// The program that `hermes bench` runs.
    public var benchModule: ByteString?

    public static let here = Installation()

    private init() {
        let folder = Self.programFolder()
        func first(_ candidates: [ByteString], having file: ByteString) -> ByteString? {
            candidates.first { Self.exists($0.appendingPath(file)) }
        }
        let checkout: ByteString = "\(folder)/../../.."
        pythonPath = first(
            ["\(folder)/../lib/python3/dist-packages", "\(checkout)/Sources/Python"], having: "hermes/__init__.py"
        ).map(Self.resolved)
        library = first(["\(folder)/../lib", "\(checkout)/.build/lib"], having: "libhermes.so")
            .map { Self.resolved($0) + "/libhermes.so" }
        benchModule = first(
            ["\(folder)/../lib/hermes", "\(checkout)/.build/lib/hermes"], having: "hermes-bench-module"
        ).map { Self.resolved($0) + "/hermes-bench-module" }
        templates = first(
            ["\(folder)/../share/hermes/templates", "\(checkout)/Sources/hermes/Templates"], having: "README.md"
        ).map(Self.resolved)
    }

    /// What modules of a simulation are started with.
    public func launchSettings(for simulation: Simulation) -> LaunchSettings {
        LaunchSettings(
            simulationName: simulation.name, baseDirectory: simulation.baseDirectory, pythonPath: pythonPath,
            library: library)
    }

    /// What templates of modules name: placeholders and absolute paths.
    public var developmentPaths: [(placeholder: String, value: ByteString)] {
        let folder = Self.programFolder()
        let isCheckout = Self.exists("\(folder)/../../../Package.swift")
        let root = Self.resolved(isCheckout ? "\(folder)/../../.." : "\(folder)/..")
        return [
            ("{{hermes}}", Self.program),
            ("{{include}}", "\(root)/include"),
            ("{{lib}}", isCheckout ? "\(root)/.build/lib" : "\(root)/lib"),
            ("{{rust}}", isCheckout ? "\(root)/Sources/Rust/hermes-module" : "\(root)/share/hermes/rust/hermes-module"),
            ("{{swift}}", isCheckout ? root : "\(root)/share/hermes/swift"),
        ]
    }

    private static var program: ByteString { resolved("/proc/self/exe") }

    private static func programFolder() -> ByteString { program.parentPath }

    private static func exists(_ path: ByteString) -> Bool { access(path.cString, F_OK) == 0 }

    private static func resolved(_ path: ByteString) -> ByteString {
        guard let real = realpath(path.cString, nil) else { return path }
        defer { free(real) }
        return ByteString(cString: real)
    }
}
