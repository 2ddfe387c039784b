import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

/// Holds the files that hosts will use against those in the configuration's folder, all hosts at once and beside the start
/// of a run: whoever changed one here and did not push it is told.
struct StaleFiles {
    /// Nobody waits longer for the comparison.
    private static let seconds = 5.0
    private static let mostFiles = 8 * AskHashes.mostPaths
    /// Lines for one host.
    private static let mostWarnings = 5

    private struct Asked {
        let host: String
        let files: [HostFiles.File]
        let questions: [NodeControl.Question]
        let isComplete: Bool
    }

    private let control: NodeControl
    private let configuration: String
    private let asked: [Asked]
    private let limit = deadline(after: seconds)
    /// Here, by path; nil until all are known.
    private let hashes = Monitor<[ByteString: String]?>(nil)

    /// Asks every host, and begins to read the files here.
    /// - Throws: `SystemError` when there is no thread to read them on.
    init(_ simulation: Simulation, _ hosts: [Host], _ control: NodeControl) throws(SystemError) {
        self.control = control
        configuration = simulation.modules.first?.location.file ?? "CONFIG"
        asked = hosts.enumerated().map { index, host in
            let all = HostFiles(of: host.name, in: simulation).files
            let files = Array(all.prefix(Self.mostFiles))
            let slices = stride(from: 0, to: files.count, by: AskHashes.mostPaths).map {
                AskHashes(paths: files[$0..<min($0 + AskHashes.mostPaths, files.count)].map(\.path))
            }
            return Asked(
                host: host.name, files: files, questions: slices.compactMap { try? control.ask(index, "hashes", $0) },
                isComplete: files.count == all.count)
        }
        let sources = Dictionary(
            asked.flatMap(\.files).map { ($0.path, $0.source) }, uniquingKeysWith: { first, _ in first })
        let hashes = hashes, limit = limit
        try startDetachedThread("comparing files with those of other hosts") {
            var found: [ByteString: String] = [:]
            for (path, source) in sources where monotonicNow() < limit {
                let file = open(source.cString, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
                guard file >= 0 else { continue }
                found[path] = FileHash.of(descriptor: file, isWanted: { monotonicNow() < limit })
                close(file)
            }
            hashes.with { $0 = found }
        }
    }

    /// Waits for what was asked, and says what differs. A host that does not answer has other troubles, told elsewhere.
    func report(_ warning: (String) -> Void) {
        let here = hashes.wait(until: limit) { $0 } ?? [:]
        for host in asked {
            let answers = host.questions.map {
                try? control.answer(to: $0, until: limit).body(FoundFiles.self)?.entries
            }
            var stale: [String] = []
            var isComplete = host.isComplete
            for (slice, entries) in answers.enumerated() {
                let files = host.files.dropFirst(slice * AskHashes.mostPaths).prefix(AskHashes.mostPaths)
                guard let entries, entries.count == files.count else {
                    isComplete = isComplete && monotonicNow() < limit
                    continue
                }
                for (file, entry) in zip(files, entries) {
                    guard let hash = here[file.path] else {
                        isComplete = false
                        continue
                    }
                    if entry.kind == .absent {
                        stale.append("host \(host.host): \(file.path) is missing there")
                    } else if entry.hash != hash {
                        stale.append("host \(host.host): \(file.path) differs from the one here")
                    }
                }
            }
            for text in stale.prefix(Self.mostWarnings) {
                warning("\(text); `hermes push \(configuration)` copies it")
            }
            if stale.count > Self.mostWarnings {
                warning("host \(host.host): \(stale.count - Self.mostWarnings) more files differ")
            }
            if !isComplete {
                warning(
                    "host \(host.host): not all of its files were compared with those here; `hermes push "
                        + "\(configuration)` does it")
            }
        }
    }
}
