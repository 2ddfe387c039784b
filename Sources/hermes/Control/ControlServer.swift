import CKeeper
import Glibc
import HermesCoordinator
import HermesNode
import HermesSystem
import Synchronization

/// Answers `hermes pause`, `step`, `status` and the like at a run's `control.sock`, on a thread of its own. Clients never
/// hold up anything else: sockets don't block, whoever does not read is not read from, what takes long to put into words is
/// left to `ControlWorker`, and the threads that run the frames and the run's end only leave a note here.
final class ControlServer: Sendable {
    private let listener: Int32
    private let desk: ControlDesk
    private let notes: Notes
    private let worker: ControlWorker
    private let note: @Sendable (String) -> Void
    private let thread = Mutex<pthread_t?>(nil)

    /// Connections that may be open; a few more get `status` and `stop`.
    static let mostConnections = 64
    private static let mostGuests = 16
    /// Bytes of requests that are not whole yet, of all clients.
    private static let mostInput = 64 << 20
    /// Seconds after which a client that takes nothing of its answers is dropped.
    private static let stallSeconds: UInt64 = 10

    /// - Parameters:
    ///   - path: of the socket to make.
    ///   - note: told of clients that are dropped.
    /// - Throws: `SystemError` when it can't be had.
    init(
        path: String, coordinator: Coordinator, lastFrame: UInt64?, note: @escaping @Sendable (String) -> Void
    ) throws {
        notes = try Notes()
        worker = try ControlWorker()
        guard let listener = UnixSocket.listen(at: ByteString(path)) else {
            throw SystemError("can't make the socket \(path)")
        }
        _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK)
        self.listener = listener
        self.note = note
        desk = ControlDesk(coordinator, lastFrame: lastFrame, worker: worker)
        let started: pthread_t
        do {
            started = try startThread("the control socket") { [self] in
                var loop = Loop(self)
                loop.run()
            }
        } catch {
            Glibc.close(listener)
            throw error
        }
        thread.withLock { $0 = started }
    }

    /// Those who wait are answered as far as they read, which is not waited for. Those who asked for the end are left to the
    /// end of this process: it closes their connections, and they know.
    func close() {
        notes.end()
        let thread = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let thread { pthread_join(thread, nil) }
        worker.end()
    }

    /// What other threads leave for the loop: answers, and that it is to end.
    private final class Notes: Sendable {
        struct Note {
            var connection: Int
            var answer: ControlAnswer
            /// The client waits for it alone.
            var isAwaitedAlone: Bool
        }
        private struct State {
            var answers: [Note] = []
            var isOver = false
        }
        private let state = Mutex(State())
        private let isRung = Atomic<Bool>(false)
        let descriptor: Int32
        private let bell: Int32

        init() throws(SystemError) {
            var ends: [Int32] = [-1, -1]
            let code = keeper_pipe(&ends)
            guard code == 0 else { throw SystemError("can't make a pipe", code: code) }
            (descriptor, bell) = (ends[0], ends[1])
        }

        deinit {
            Glibc.close(descriptor)
            Glibc.close(bell)
        }

        func leave(_ note: Note) {
            state.withLock { $0.answers.append(note) }
            ring()
        }

        func end() {
            state.withLock { $0.isOver = true }
            ring()
        }

        /// One byte at most is on its way, so this never waits.
        private func ring() {
            guard !isRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
            var byte: UInt8 = 1
            write(bell, &byte, 1)
        }

        func take() -> (answers: [Note], isOver: Bool) {
            var byte: UInt8 = 0
            while read(descriptor, &byte, 1) > 0 {}
            isRung.store(false, ordering: .sequentiallyConsistent)
            return state.withLock { state in
                defer { state.answers = [] }
                return (state.answers, state.isOver)
            }
        }
    }

    // MARK: The loop

    private struct Loop {
        let server: ControlServer
        var connections: [ControlConnection] = []
        var nextNumber = 0
        /// Until then nobody is let in: there are no descriptors.
        var acceptsFrom: UInt64 = 0

        init(_ server: ControlServer) { self.server = server }

        mutating func run() {
            ControlWorker.giveWay()
            while true {
                var watched = [pollfd(fd: server.notes.descriptor, events: Int16(POLLIN), revents: 0)]
                let accepts = monotonicNow() >= acceptsFrom
                watched.append(pollfd(fd: accepts ? server.listener : -1, events: Int16(POLLIN), revents: 0))
                watched += connections.map { pollfd(fd: $0.socket, events: $0.events, revents: 0) }
                // It waits for nothing else than memory, of which there may be more in a moment.
                do { try pollDescriptors(&watched, milliseconds: timeout(accepts)) } catch { usleep(10_000) }
                let (answers, isOver) = server.notes.take()
                let polled = watched[2...]
                for (connection, entry) in zip(connections, polled) where entry.revents != 0 {
                    connection.attend(entry.revents)
                }
                deliver(answers)
                for connection in connections { takeRequests(connection) }
                for connection in connections { connection.flush() }
                dropTheLost()
                if isOver { break }
                if watched[1].revents != 0 { letIn() }
            }
            for connection in connections where !connection.awaitsEnd { connection.close() }
            Glibc.close(server.listener)
        }

        /// Milliseconds until something is due that no descriptor tells of.
        private func timeout(_ accepts: Bool) -> Int32 {
            if connections.contains(where: \.hasUnscanned) { return 0 }
            if !accepts { return 100 }
            return connections.contains { $0.stalledSince != nil } ? 1000 : -1
        }

        private func deliver(_ answers: [Notes.Note]) {
            if answers.isEmpty { return }
            let byNumber = Dictionary(uniqueKeysWithValues: connections.map { ($0.number, $0) })
            for note in answers {
                guard let connection = byNumber[note.connection] else { continue }
                if note.answer.isLong {
                    server.worker.post { [notes = server.notes] in
                        var note = note
                        note.answer = .line(note.answer.line)
                        notes.leave(note)
                    }
                } else {
                    connection.take(note.answer, isAwaitedAlone: note.isAwaitedAlone)
                }
            }
        }

        private func takeRequests(_ connection: ControlConnection) {
            while let text = connection.nextRequest() {
                let line = ControlLine(text)
                if connection.isGuest && !line.isForAll {
                    connection.dismiss(
                        "\(ControlServer.mostConnections) clients wait for answers of this simulation; only status and stop "
                            + "have room beside them")
                    return
                }
                connection.awaitsEnd = connection.awaitsEnd || line.isStop
                connection.begin(isLong: line.isLong)
                server.desk.answer(line) { [notes = server.notes, number = connection.number] answer in
                    notes.leave(Notes.Note(connection: number, answer: answer, isAwaitedAlone: line.isLong))
                }
            }
        }

        /// Closes what is over, and who holds up others.
        private mutating func dropTheLost() {
            let now = monotonicNow()
            for connection in connections {
                if let since = connection.stalledSince, now > since + ControlServer.stallSeconds * 1_000_000_000 {
                    server.note(
                        "a client\(connection.who) of the control socket was dropped: it has read nothing of its answers for "
                            + "\(ControlServer.stallSeconds) s")
                    connection.isOver = true
                }
            }
            while connections.reduce(0, { $0 + $1.inputCount }) > ControlServer.mostInput,
                let longest = connections.max(by: { $0.inputCount < $1.inputCount })
            {
                longest.dismiss("requests that are not whole yet take \(ControlServer.mostInput >> 20) MiB of memory")
                longest.isOver = true
            }
            for connection in connections where connection.isOver { connection.close() }
            connections.removeAll(where: \.isOver)
        }

        private mutating func letIn() {
            for _ in 0..<16 {
                let socket = accept(server.listener, nil, nil)
                guard socket >= 0 else {
                    if [EMFILE, ENFILE, ENOMEM, ENOBUFS].contains(errno), !dropIdle() {
                        acceptsFrom = monotonicNow() + 100_000_000
                    }
                    return
                }
                _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
                _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
                var isGuest = false
                if connections.count >= ControlServer.mostConnections && !dropIdle() {
                    isGuest = true
                    let guests = connections.filter(\.isGuest)
                    if guests.count >= ControlServer.mostGuests, let oldest = guests.first { remove(oldest) }
                }
                connections.append(ControlConnection(socket, number: nextNumber, isGuest: isGuest))
                nextNumber += 1
            }
        }

        /// The one that has been idle for longest gives way; false when all wait for answers.
        private mutating func dropIdle() -> Bool {
            guard let idle = connections.filter(\.isIdle).min(by: { $0.lastActive < $1.lastActive }) else {
                return false
            }
            idle.dismiss(
                "this connection was closed to make room: \(ControlServer.mostConnections) are open, and it was idle the longest"
            )
            remove(idle)
            return true
        }

        private mutating func remove(_ connection: ControlConnection) {
            connection.close()
            connections.removeAll { $0 === connection }
        }
    }
}
