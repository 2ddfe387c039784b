import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

/// Nodes of the benchmark's own on loopback ports, with one module root.
final class LoopbackNodes {
    private(set) var hosts: [Host] = []
    private var children: [BenchmarkChild] = []
    /// Whether each stands behind a program that watches it.
    private let isWatched: Bool

    private static let portsEach = 8
    /// Below those that the system hands out by itself.
    private static let ports = 15_000..<32_000
    private static let readySeconds = 30.0

    /// They listen when this returns.
    /// - Parameter watcher: a command in front of each node's own, for the node of that number.
    /// - Throws: `RunFailure` when one does not, `ExitCode` 130 when a signal comes.
    init(_ count: Int, root: String, _ bench: BenchmarkPlace, watcher: ((Int) -> [String])? = nil) throws {
        isWatched = watcher != nil
        do {
            for index in 0..<count { try start(index, root, bench, watcher?(index) ?? []) }
        } catch {
            end()
            throw error
        }
    }

    private func start(_ index: Int, _ root: String, _ bench: BenchmarkPlace, _ watcher: [String]) throws {
        for _ in 0..<20 {
            let port = try Self.freePorts()
            let child = try BenchmarkChild(
                watcher + [
                    bench.programs.node, "--listen", "tcp://127.0.0.1:\(port)", "--modules", root, "--ports",
                    "\(port + 1)-\(port + Self.portsEach - 1)", "-q",
                ], called: "hermes-node-\(index)", bench)
            let limit = deadline(after: Self.readySeconds)
            while child.isRunning {
                if Self.isListening(port) {
                    children.append(child)
                    hosts.append(
                        Host(
                            name: "h\(index)", endpoint: "tcp://127.0.0.1:\(port)",
                            location: SourceLocation(file: "hermes bench", line: 1, column: 1)))
                    return
                }
                do {
                    try bench.checkSignals(waitingMilliseconds: 2)
                } catch {
                    child.end()
                    throw error
                }
                if monotonicNow() > limit { break }
            }
            let ended = child.end()
            // Somebody was faster at this port.
            if !ended.errors.contains("taken") {
                throw RunFailure(.launch, cause: "hermes-node on port \(port) did not get ready: \(ended.lastWords)")
            }
        }
        throw RunFailure(.resource, cause: "no free ports from \(Self.ports.lowerBound) to \(Self.ports.upperBound)")
    }

    /// The first of some neighbours that nobody uses.
    private static func freePorts() throws -> Int {
        for _ in 0..<200 {
            let first = Int.random(in: ports.lowerBound / portsEach..<ports.upperBound / portsEach) * portsEach
            if (first..<first + portsEach).allSatisfy(isFree) { return first }
        }
        throw RunFailure(.resource, cause: "no free ports from \(ports.lowerBound) to \(ports.upperBound)")
    }

    private static func isFree(_ port: Int) -> Bool {
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return false }
        defer { close(probe) }
        var yes: Int32 = 1
        setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(probe, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        } == 0
    }

    /// As the system sees it: a connection to try it would count as rubbish with the node.
    private static func isListening(_ port: Int) -> Bool {
        ["tcp", "tcp6"].contains { isListening(port, in: "/proc/self/net/\($0)") }
    }

    private static func isListening(_ port: Int, in table: String) -> Bool {
        guard let file = fopen(table, "re") else { return false }
        defer { fclose(file) }
        let digits = String(port, radix: 16, uppercase: true)
        let ending = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        var room = [CChar](repeating: 0, count: 512)
        while fgets(&room, Int32(room.count), file) != nil {
            let words = String(decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                .split(separator: " ")
            if words.count > 3, words[1].hasSuffix(ending), words[3] == "0A" { return true }
        }
        return false
    }

    /// - Throws: `RunFailure` when one has ended, with its last words.
    func check() throws {
        for child in children where !child.isRunning {
            throw RunFailure(.lost, cause: "a hermes-node on loopback ended: \(child.end().lastWords)")
        }
    }

    func end() {
        for child in children { child.end(telling: isWatched ? child.firstChild : nil) }
        children = []
    }
}

extension BenchmarkChild {
    /// The process that the one it became has started.
    var firstChild: pid_t? {
        guard let file = fopen("/proc/\(pid)/task/\(pid)/children", "re") else { return nil }
        defer { fclose(file) }
        var room = [CChar](repeating: 0, count: 64)
        guard fgets(&room, Int32(room.count), file) != nil else { return nil }
        return pid_t(atoi(room))
    }
}
