import CHermes
import CKeeper
import Glibc
import HermesProtocol
import HermesSystem
import Synchronization

/// What has been seen of one module's process.
struct ProcessRecord {
    var pid: Int32 = 0
    /// errno of an exec that failed.
    var launchError: Int32?
    /// The status of waitpid once it has exited.
    var exitStatus: Int32?
    /// So has everything it had started.
    var isGone = false
    /// What came of its module's `terminate`, where no command asked for it; nil as long as it has not returned.
    var ended: (status: Int32, text: String)?
    var announcement: [UInt8]?
    var isFree = false
    var replies: [UInt32: (status: Int32, text: String)] = [:]
    var states: [UInt32: (status: Int32, bytes: [UInt8])] = [:]
    /// What it made of HERMES_REALTIME.
    var realtime: hermes_realtime_found?
    /// Why its last step failed, said ahead of the status.
    var stepReason: String?
    /// What was wrong with its messages.
    var rubbish: String?
    /// The keeper is gone: nobody will tell of this process's exit.
    var isOrphaned = false
    var lastLines: [String] = []
    /// How manieth process of its module this is, from 0.
    var generation = 0

    /// A free script that ends with 0 has done what it wanted; any other end of a process is a loss.
    func isLoss(ofFreeScript isFree: Bool) -> Bool {
        if launchError != nil || rubbish != nil { return true }
        guard let exitStatus else { return false }
        return !(isFree && exitStatus == 0)
    }
}

/// One thread beside the frames that reads everything processes say: exits from the keeper, replies, outputs.
final class ProcessSupervisor: @unchecked Sendable {
    private static let keptLines = 12
    /// No pipe holds more than this, so nobody who has ended left more.
    private static let mostLeft = 1 << 20

    let records: Monitor<[ProcessRecord]>
    private let processKeeper: keeper
    /// By record. Only the thread uses it once it runs.
    private var processes: [ModuleProcess]
    /// What the thread is to read in place of processes that have ended.
    private let renewals = Mutex<[Renewal]>([])
    private struct Renewal: @unchecked Sendable { let process: ModuleProcess }
    /// A line of a module's output, for people.
    private let onLine: @Sendable (_ module: String, _ line: String) -> Void
    /// A module is gone or broke the protocol: its record says how. Called on the supervisor's thread.
    private let onLoss: @Sendable (_ index: Int, _ record: ProcessRecord) -> Void
    /// Has the thread look at `renewals` and `isOver`.
    private let call: WakePipe
    private let isOver = Atomic<Bool>(false)
    private var thread = pthread_t()
    private var parsers: [FifoParser]
    private var splitters: [(output: LineSplitter, errors: LineSplitter)]

    init(
        keeper processKeeper: keeper, processes: [ModuleProcess],
        onLine: @escaping @Sendable (String, String) -> Void, onLoss: @escaping @Sendable (Int, ProcessRecord) -> Void
    ) throws(SystemError) {
        self.processKeeper = processKeeper
        self.processes = processes
        self.onLine = onLine
        self.onLoss = onLoss
        records = Monitor(Array(repeating: ProcessRecord(), count: processes.count))
        parsers = Array(repeating: FifoParser(), count: processes.count)
        splitters = Array(repeating: (LineSplitter(), LineSplitter()), count: processes.count)
        call = try WakePipe()
    }

    func start() throws(SystemError) { thread = try startThread("what modules say") { [self] in run() } }

    /// Reads what is there still, then ends the thread. Call once, after `start`.
    func stop() {
        isOver.store(true, ordering: .releasing)
        call.wake()
        pthread_join(thread, nil)
    }

    /// Begins the record of a process that has ended anew, for another in its place, and returns once that is read.
    func renew(_ process: ModuleProcess) {
        let id = Int(process.id)
        let generation = records.with { $0[id].generation }
        renewals.withLock { $0.append(Renewal(process: process)) }
        call.wake()
        records.wait(until: deadline(after: 0)) { $0[id].generation != generation ? () : nil }
    }

    private func run() {
        // Three descriptors a process, then the keeper and the pipe.
        var watched = processes.flatMap { [watch($0.replies), watch($0.output), watch($0.errors)] }
        let keeperIndex = watched.count
        watched += [watch(processKeeper.socket), watch(call.descriptor)]
        while true {
            do {
                try pollDescriptors(&watched, milliseconds: -1)
            } catch {
                // Nothing of any module would be heard any more.
                for index in processes.indices { lose(index) { $0.rubbish = "can't be watched: \(error)" } }
                while !isOver.load(ordering: .acquiring) { usleep(10_000) }
                break
            }
            for index in processes.indices {
                // Outputs first: what a module printed before it answered is there for whoever acts on the answer.
                for stream in 1...2 where watched[index * 3 + stream].revents != 0 {
                    if readOutput(index, isError: stream == 2) == 0 { watched[index * 3 + stream].fd = -1 }
                }
                if watched[index * 3].revents != 0, readReplies(index) == 0 { watched[index * 3].fd = -1 }
            }
            if watched[keeperIndex].revents != 0, !readEvent() { watched[keeperIndex].fd = -1 }
            guard watched[keeperIndex + 1].revents != 0 else { continue }
            if isOver.load(ordering: .acquiring) { break }
            for process in takeRenewals() {
                let first = Int(process.id) * 3
                watched.replaceSubrange(
                    first..<first + 3, with: [watch(process.replies), watch(process.output), watch(process.errors)])
            }
        }
        for index in processes.indices { drain(index) }
    }

    /// What the old ones left is read first; their descriptors go with them.
    private func takeRenewals() -> [ModuleProcess] {
        call.drain()
        let renewed = renewals.withLock { renewals in
            defer { renewals = [] }
            return renewals.map(\.process)
        }
        for process in renewed {
            let index = Int(process.id)
            drain(index)
            processes[index] = process
            parsers[index] = FifoParser()
            splitters[index] = (LineSplitter(), LineSplitter())
            records.with { records in
                let generation = records[index].generation + 1
                records[index] = ProcessRecord()
                records[index].generation = generation
            }
        }
        return renewed
    }

    private func lose(_ index: Int, _ change: (inout ProcessRecord) -> Void) {
        let record = records.with { records in
            change(&records[index])
            return records[index]
        }
        onLoss(index, record)
    }

    private func watch(_ descriptor: Int32) -> pollfd { pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0) }

    /// Reads what a process that has ended left behind, and no more: another may hold its pipes and write for ever.
    private func drain(_ index: Int) {
        let streams = [
            { self.readOutput(index, isError: false) }, { self.readOutput(index, isError: true) },
            { self.readReplies(index) },
        ]
        for read in streams {
            var left = Self.mostLeft
            while left > 0, let count = read(), count > 0 { left -= count }
        }
    }

    /// The number of bytes read, nil when there is nothing now. What follows rubbish is read and dropped: a module that
    /// waits for room in its FIFO would not reach its safe state.
    private func readReplies(_ index: Int) -> Int? {
        let count = read(processes[index].replies) { parsers[index].append($0) }
        do {
            while let message = try parsers[index].next(
                admit: { (type, sequence) throws(FifoError) in try admit(type, sequence, of: index) })
            {
                try take(message, of: index)
            }
        } catch {
            parsers[index].abandon()
            lose(index) { $0.rubbish = error.cause }
        }
        return count
    }

    /// Nothing is waited for or kept but what may come now.
    private func admit(_ type: Int, _ sequence: UInt32, of index: Int) throws(FifoError) {
        let (hasAnnounced, isFree) = records.with { ($0[index].announcement != nil, $0[index].isFree) }
        switch type {
        case Int(HERMES_ANNOUNCE) where hasAnnounced: throw FifoError(cause: "announced its signals twice")
        case Int(HERMES_ANNOUNCE) where isFree, Int(HERMES_FREE) where hasAnnounced:
            throw FifoError(cause: "announced signals and said that it is a free script: it can be only one of them")
        case Int(HERMES_REPLY), Int(HERMES_SAVED):
            // Why a step failed, and how the end came about, are told unasked.
            if type == Int(HERMES_REPLY), [0, .max].contains(sequence) { return }
            guard processes[index].expects(type, sequence) else {
                throw FifoError(cause: "sent a reply to a command that it was not given")
            }
        default: break
        }
    }

    private func take(_ message: FifoMessage, of index: Int) throws(FifoError) {
        switch Int(message.type) {
        case Int(HERMES_REALTIME):
            let found = try Self.realtime(message.body)
            records.with { $0[index].realtime = found }
        case Int(HERMES_ANNOUNCE): records.with { $0[index].announcement = message.body }
        case Int(HERMES_FREE): records.with { $0[index].isFree = true }
        default:
            var reader = ByteReader(message.body[...])
            guard let bits = reader.u32(), let rest = reader.take(reader.remaining) else {
                throw FifoError(cause: "sent a reply without a status")
            }
            let status = Int32(bitPattern: bits)
            processes[index].answered(message.sequence)
            if Int(message.type) == Int(HERMES_SAVED) {
                return records.with { $0[index].states[message.sequence] = (status, Array(rest)) }
            }
            let words = String(decoding: rest, as: UTF8.self)
            records.with { records in
                switch message.sequence {
                case 0: records[index].stepReason = words
                case UInt32.max: records[index].ended = (status, words)
                default: records[index].replies[message.sequence] = (status, words)
                }
            }
        }
    }

    /// A later libhermes may say more.
    private static func realtime(_ body: [UInt8]) throws(FifoError) -> hermes_realtime_found {
        var found = hermes_realtime_found()
        let size = MemoryLayout<hermes_realtime_found>.size
        guard body.count >= size else { throw FifoError(cause: "sent a broken word on its priority and CPUs") }
        withUnsafeMutableBytes(of: &found) { $0.copyBytes(from: body[..<size]) }
        return found
    }

    /// The number of bytes read: 0 at the end of the stream, nil when there is nothing now.
    private func readOutput(_ index: Int, isError: Bool) -> Int? {
        var lines: [String] = []
        let emit = { (line: String) in lines.append(line) }
        let descriptor = isError ? processes[index].errors : processes[index].output
        let count = read(descriptor) { bytes in
            if isError {
                splitters[index].errors.append(bytes, emit)
            } else {
                splitters[index].output.append(bytes, emit)
            }
        }
        if count == 0 {
            if isError { splitters[index].errors.finish(emit) } else { splitters[index].output.finish(emit) }
        }
        if lines.isEmpty { return count }
        if isError {
            records.with {
                $0[index].lastLines = ($0[index].lastLines + lines.suffix(Self.keptLines)).suffix(Self.keptLines)
            }
        }
        for line in lines { onLine(processes[index].module.name, line) }
        return count
    }

    /// The number of bytes read, nil when there is nothing to read now.
    private func read(_ descriptor: Int32, _ body: (UnsafeRawBufferPointer) -> Void) -> Int? {
        withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 8) { room in
            let count = Glibc.read(descriptor, room.baseAddress, room.count)
            guard count >= 0 else { return nil }
            body(UnsafeRawBufferPointer(rebasing: room[..<count]))
            return count
        }
    }

    /// False when the keeper is gone.
    private func readEvent() -> Bool {
        var event = keeper_event()
        guard withUnsafePointer(to: processKeeper, { keeper_read_event($0, &event) }) == 1 else {
            for index in processes.indices where records.with({ $0[index].exitStatus == nil }) {
                lose(index) {
                    $0.rubbish = "lost its keeper process"
                    $0.isOrphaned = true
                }
            }
            return false
        }
        let index = Int(event.id)
        guard processes.indices.contains(index) else { return true }
        switch Int(event.kind) {
        case Int(KEEPER_STARTED): records.with { $0[index].pid = event.pid }
        case Int(KEEPER_FAILED): lose(index) { $0.launchError = event.value }
        case Int(KEEPER_GONE): records.with { $0[index].isGone = true }
        default:
            // Its last words first, so that the report has them.
            drain(index)
            lose(index) { $0.exitStatus = event.value }
        }
        return true
    }
}
