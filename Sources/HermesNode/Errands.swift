import Glibc
import HermesProtocol
import HermesSystem
import HermesTransport

/// What takes a node longer than a moment: reading and writing files, looking at its machine. Done one after the other on a
/// thread of its own, so that no run waits for it; the thread is there from the first errand on. A look at the machine starts
/// programs, which may hang, and has a thread for itself.
final class Errands: @unchecked Sendable {
    typealias Caller = NodeListener.Caller

    private struct State {
        var waiting: [(message: ControlMessage, caller: Caller)] = []
        var waitingBytes = 0
        var answers: [(message: ControlMessage, caller: Caller)] = []
        /// Callers whose connections have ended.
        var gone: [Caller] = []
        var hasThread = false
        var checkups = 0
        var isOver = false
    }

    static let questions: Set<String> = ["hashes", "put", "folder", "checkup"]  // ASCII
    /// What may wait at a time; whoever pushes or asks waits for each answer.
    private static let most = 256
    private static let mostBytes = 32 << 20
    /// Looks at the machine at a time.
    private static let mostCheckups = 4

    private let files: ModuleFiles
    private let findings: @Sendable (_ isWanted: () -> Bool) -> [Finding]
    private let state = Monitor(State())
    private let bell: WakePipe
    private var thread = pthread_t()

    init(files: ModuleFiles, findings: @escaping @Sendable (() -> Bool) -> [Finding]) throws(SystemError) {
        self.files = files
        self.findings = findings
        bell = try WakePipe()
    }

    /// Readable when there are answers.
    var descriptor: Int32 { bell.descriptor }

    /// - Throws: `Refused` when too much waits already, or there is no thread to do it on.
    func add(_ message: ControlMessage, from caller: Caller) throws {
        if message.say == "checkup" { return try checkUp(message, for: caller) }
        let (isAccepted, isFirst) = state.with { state -> (Bool, Bool) in
            guard state.waiting.count < Self.most, state.waitingBytes < Self.mostBytes else { return (false, false) }
            state.waiting.append((message, caller))
            state.waitingBytes += message.encoded.count
            defer { state.hasThread = true }
            return (true, !state.hasThread)
        }
        guard isAccepted else { throw Refused("this node has too much to do for others; try again later") }
        guard isFirst else { return }
        do {
            thread = try startThread("errands") { [self] in work() }
        } catch {
            state.with { state in
                state.hasThread = false
                state.waiting = []
                state.waitingBytes = 0
            }
            throw Refused("this node \(error)")
        }
    }

    private func checkUp(_ message: ControlMessage, for caller: Caller) throws {
        let isAccepted = state.with { state in
            guard state.checkups < Self.mostCheckups else { return false }
            state.checkups += 1
            return true
        }
        guard isAccepted else { throw Refused("this node is looking at its machine for others; try again later") }
        do {
            try startDetachedThread("a look at the machine") { [self] in
                let found = CheckupFindings(findings: findings { !state.with { $0.isOver } })
                let answer = try? ControlMessage("findings", id: message.id, found)
                state.with { state in
                    state.checkups -= 1
                    if let answer { state.answers.append((answer, caller)) }
                }
                bell.wake()
            }
        } catch {
            state.with { $0.checkups -= 1 }
            throw Refused("this node \(error)")
        }
    }

    /// What a caller had in hand ends: it has gone.
    func forget(_ caller: Caller) {
        state.with { state in
            for message in state.waiting where message.caller == caller {
                state.waitingBytes -= message.message.encoded.count
            }
            state.waiting.removeAll { $0.caller == caller }
            if state.hasThread { state.gone.append(caller) }
        }
    }

    /// Those that are ready.
    func takeAnswers() -> [(message: ControlMessage, caller: Caller)] {
        bell.drain()
        return state.with { state in
            defer { state.answers = [] }
            return state.answers
        }
    }

    /// Returns when the errand under way is done; the others are forgotten.
    func close() {
        let hasThread = state.with { state in
            state.isOver = true
            return state.hasThread
        }
        if hasThread { pthread_join(thread, nil) }
        // What they started is ended with them.
        _ = state.wait(until: deadline(after: 2)) { $0.checkups == 0 ? true : nil }
        files.close()
    }

    // MARK: The thread

    private func work() {
        while let (message, caller) = next() {
            defer { if message.encoded.count > NodeListener.bulk { NodeListener.giveMemoryBack() } }
            var answer: ControlMessage?
            do {
                answer = try self.answer(message, caller)
            } catch {
                let refused = error as? Refused ?? Refused("\(error)")
                answer = try? ControlMessage("refused", id: message.id, refused)
            }
            guard let answer else { continue }
            state.with { $0.answers.append((answer, caller)) }
            bell.wake()
        }
    }

    private func next() -> (message: ControlMessage, caller: Caller)? {
        while true {
            let found = state.wait(until: .max / 2) { state -> (message: ControlMessage, caller: Caller)?? in
                if state.isOver { return .some(nil) }
                for caller in state.gone { files.forget(caller) }
                state.gone = []
                guard !state.waiting.isEmpty else { return nil }
                let first = state.waiting.removeFirst()
                state.waitingBytes -= first.message.encoded.count
                return first
            }
            if let found { return found }
        }
    }

    private func answer(_ message: ControlMessage, _ caller: Caller) throws -> ControlMessage {
        func body<Body: MessageBody>() throws -> Body { try message.read() }
        let isOver = { [state] in state.with { $0.isOver } }
        switch message.say {
        case "hashes":
            return try ControlMessage("hashed", id: message.id, files.find(body(), isWanted: { !isOver() }))
        case "put":
            return try ControlMessage("took", id: message.id, files.put(body(), from: caller))
        default:
            try files.makeFolder(body())
            return try ControlMessage("ok", id: message.id)
        }
    }
}
