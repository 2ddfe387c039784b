import HermesProtocol
import HermesSystem

extension Console {
    /// A line for each file: results, but for what went wrong.
    func pushed(_ entry: FilePush.Entry, to host: String) {
        switch entry.deed {
        case .failed: error("host \(host): \(entry.path): \(entry.cause ?? "not copied")")
        case .skipped: warning("host \(host): \(entry.path) is left out: \(entry.cause ?? "")")
        case .kept: result("\(host): kept \(entry.path), not here")
        case .sent: result("\(host): sent \(entry.path), \(entry.bytes) bytes")
        case .same, .made: result("\(host): \(entry.deed.rawValue) \(entry.path)")
        }
    }
}

/// What a push to one host did, counted.
final class PushTally: Sendable {
    private let counts = Monitor<[FilePush.Deed: Int]>([:])

    func count(_ entry: FilePush.Entry) { counts.with { $0[entry.deed, default: 0] += 1 } }

    var hasFailed: Bool { counts.with { $0[.failed] != nil } }

    /// "2 sent, 5 same".
    var text: String {
        let all = counts.with { $0 }
        let words: [FilePush.Deed] = [.sent, .same, .made, .kept, .skipped, .failed]
        return words.compactMap { deed in all[deed].map { "\($0) \(deed.rawValue)" } }.joined(separator: ", ")
    }
}
