import Glibc
import HermesModel
import HermesNode
import HermesProtocol
import HermesSystem

/// Which simulation a command means.
enum RunningSimulation {
    /// The named one, or the only one that runs.
    /// - Throws: `RunFailure` listing those that run when there is no such one or no only one.
    static func find(_ name: String?) throws -> String {
        let running = RunFolder.running()
        if let name {
            if running.contains(name) { return name }
            if let owner = RunFolder.otherOwner(of: name) {
                let account = UserName.name(of: owner) ?? "#\(owner)"
                throw failure(
                    "the simulation '\(name)' belongs to user \(UserName.of(owner)), who alone reaches it: sudo -u "
                        + "\(account) hermes ...")
            }
            let list = running.isEmpty ? "none does" : "these do: " + running.joined(separator: ", ")
            throw failure("no simulation named '\(name)' runs here; \(list)")
        }
        let commanded = commanded()
        guard let only = commanded.first else {
            throw failure("no simulation runs here; start one with `hermes run CONFIG`")
        }
        guard commanded.count == 1 else {
            throw failure("several simulations run here: say which: \(commanded.joined(separator: ", "))")
        }
        return only
    }

    /// Those that take commands: not what `list-signals` and `verify` run for themselves.
    static func commanded() -> [String] {
        RunFolder.running().filter { access("\(RunFolder.path(of: $0))/control.sock", F_OK) == 0 }
    }

    static func isRunning(_ name: String) -> Bool { RunFolder.running().contains(name) }

    static func staging(_ name: String) -> RunFailure {
        failure("the simulation '\(name)' is still staging; try again in a moment")
    }

    static func ended(_ name: String) -> RunFailure { failure("the simulation '\(name)' has ended") }

    static func failure(_ sentence: String) -> RunFailure { RunFailure(.refused, cause: sentence) }
}

/// The words behind a command, `[NAME] REST...`: a name never has a dot, a star or an `=`.
struct NamedWords {
    var name: String?
    var rest: [String]

    init(name: String?, rest: [String]) {
        self.name = name
        self.rest = rest
    }

    init(_ words: [String]) {
        if let first = words.first, isValidName(first) {
            name = first
            rest = Array(words.dropFirst())
        } else {
            rest = words
        }
    }
}
