import Glibc
import HermesNode
import HermesProtocol

/// The programs that a benchmark runs.
struct BenchmarkPrograms {
    /// What the module's program is called beneath module roots.
    static let moduleName = "hermes-bench-module"

    /// This program.
    let hermes: String
    let node: String
    /// The module, and what measures the bare system.
    let module: String

    /// - Throws: `RunFailure` when one of them is not there.
    init() throws {
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &room, room.count - 1)
        hermes = String(decoding: room[..<max(length, 0)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        node = hermes + "-node"
        guard let module = Installation.here.benchModule?.text, access(module, X_OK) == 0 else {
            throw RunFailure(
                .resource,
                cause: "\(Self.moduleName) is missing beside this program; `make library`, or install hermes again")
        }
        self.module = module
        guard access(node, X_OK) == 0 else {
            throw RunFailure(.resource, cause: "there is no hermes-node beside \(hermes); install hermes again")
        }
    }
}
