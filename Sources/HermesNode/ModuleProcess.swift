import CHermes
import CKeeper
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import Synchronization

/// The descriptors of one module's process: its FIFO pair and the read ends of its two outputs.
final class ModuleProcess {
    let id: UInt32
    let module: Module
    let commandPath, replyPath: String
    /// Both ends of each FIFO stay open here, so neither a late nor a dead module makes a call fail or block.
    private(set) var commands: Int32 = -1
    private(set) var replies: Int32 = -1
    /// Read ends of its standard output and standard error.
    private(set) var output: Int32 = -1
    private(set) var errors: Int32 = -1
    /// Their write ends, until the process has them.
    private var outputEnd: Int32 = -1
    private var errorsEnd: Int32 = -1
    /// Of the last command. It goes round: a module that saves its state 20 000 times a second has been given 2^32 commands
    /// after 60 hours.
    private var sequence: UInt32 = 0
    /// Commands that have no reply yet, and the type of message that answers them.
    private let unanswered = Mutex<[UInt32: Int]>([:])

    init(id: UInt32, module: Module, folder: RunFolder, keeper processKeeper: inout keeper) throws {
        self.id = id
        self.module = module
        commandPath = "\(folder.path)/\(id).command"
        replyPath = "\(folder.path)/\(id).reply"
        keeper_register(&processKeeper, Int32(KEEPER_UNLINK), commandPath)
        commands = try Self.makeFifo(commandPath)
        keeper_register(&processKeeper, Int32(KEEPER_UNLINK), replyPath)
        replies = try Self.makeFifo(replyPath)
        (output, outputEnd) = try Self.makePipe()
        (errors, errorsEnd) = try Self.makePipe()
    }

    /// For another process in the place of one that has ended: new pipes and a new FIFO pair of the same names, so that
    /// nothing which the old one left unread is taken for the new one's.
    init(replacing old: ModuleProcess) throws {
        id = old.id
        module = old.module
        commandPath = old.commandPath
        replyPath = old.replyPath
        unlink(commandPath)
        unlink(replyPath)
        commands = try Self.makeFifo(commandPath)
        replies = try Self.makeFifo(replyPath)
        (output, outputEnd) = try Self.makePipe()
        (errors, errorsEnd) = try Self.makePipe()
    }

    deinit {
        closeWriteEnds()
        for descriptor in [commands, replies, output, errors] where descriptor >= 0 { close(descriptor) }
    }

    private func closeWriteEnds() {
        for descriptor in [outputEnd, errorsEnd] where descriptor >= 0 { close(descriptor) }
        outputEnd = -1
        errorsEnd = -1
    }

    /// From now on the module finds itself without a node, and so reaches its safe state and ends by itself: whatever
    /// processes stand between, and also one that handles SIGTERM in its own way.
    func hangUp() {
        if commands >= 0 { close(commands) }
        commands = -1
    }

    private static func makeFifo(_ path: String) throws -> Int32 {
        var descriptor: Int32 = -1
        if mkfifo(path, 0o600) == 0 { descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) }
        guard descriptor >= 0 else {
            throw RunFailure(.resource, cause: "\(SystemError("can't make the FIFO \(path)"))")
        }
        return descriptor
    }

    /// Asks the keeper for the process; what becomes of it comes as an event.
    func launch(_ launch: ModuleLaunch, keeper processKeeper: inout keeper) throws {
        defer { closeWriteEnds() }
        let code = withTexts(launch.arguments) { arguments in
            withTexts(launch.environment) { environment in
                launch.directory.withCString { directory in
                    var program = keeper_program(
                        arguments: arguments, environment: environment, directory: directory,
                        standard_output: outputEnd, standard_error: errorsEnd)
                    return keeper_spawn(&processKeeper, id, &program)
                }
            }
        }
        guard code == 0 else {
            throw RunFailure(
                .launch, module: module.name, cause: "can't be started: \(SystemError.startReason(code))")
        }
    }

    private static func makePipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        let code = keeper_pipe(&ends)
        guard code == 0 else {
            throw RunFailure(.resource, cause: "\(SystemError("can't make a pipe", code: code))")
        }
        return (ends[0], ends[1])
    }

    /// Sends a command; the number its reply will bear, nil when the module reads nothing any more.
    func send(_ type: Int, head: [UInt8] = [], body: [UInt8] = [], until deadline: UInt64) -> UInt32? {
        // The first and the last number are those of words nobody asked for.
        sequence = sequence >= .max - 1 ? 1 : sequence + 1
        unanswered.withLock { $0[sequence] = Int(type == Int(HERMES_SAVE) ? HERMES_SAVED : HERMES_REPLY) }
        var header = hermes_fifo_header(
            magic: HERMES_FIFO_MAGIC, type: UInt32(type), sequence: sequence, length: UInt32(head.count + body.count))
        let bytes = withUnsafeBytes(of: &header) { Array($0) } + head + body
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { write(commands, $0.baseAddress! + sent, bytes.count - sent) }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                let now = monotonicNow()
                guard now < deadline else { return nil }
                var ready = pollfd(fd: commands, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, Int32(clamping: (deadline - now) / 1_000_000 + 1))
            } else if errno != EINTR {
                return nil
            }
        }
        return sequence
    }

    /// Whether a message of that type and number is due. From any thread.
    func expects(_ type: Int, _ sequence: UInt32) -> Bool { unanswered.withLock { $0[sequence] == type } }

    /// It has come: each command is answered once.
    func answered(_ sequence: UInt32) { unanswered.withLock { _ = $0.removeValue(forKey: sequence) } }
}

/// What a process is started with.
struct ModuleLaunch {
    var arguments: [ByteString]
    var environment: [ByteString]
    var directory: ByteString
}

/// A NULL-terminated array of C strings for the time of a call.
private func withTexts<Result>(
    _ texts: [ByteString], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
) -> Result {
    let copies = texts.map { strdup($0.cString) }
    defer { copies.forEach { free($0) } }
    let pointers = copies.map { UnsafePointer($0) } + [nil]
    return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
}
