import FoundationEssentials
import Glibc
import HermesModel
import HermesNode
import HermesProtocol
import HermesSystem

/// Commands to a simulation's `control.sock`, each on a connection of its own.
struct ControlClient {
    let name: String

    /// Seconds a run may take to open its socket and to say how it is.
    private static let patienceSeconds = 2.0
    /// Seconds a run may take to end.
    private static let endSeconds = 10.0

    /// Sends a command and waits until it has taken effect, however long that takes.
    /// - Throws: `RunFailure` when it is refused or the simulation ends meanwhile.
    func ask(_ request: ControlRequest) throws -> ControlReply {
        let connection = try connect()
        defer { connection.close() }
        guard try send(request, connection) else { throw closed }
        var isTold = false
        while true {
            switch connection.receive(seconds: request.command == .stop ? Self.endSeconds : Self.patienceSeconds) {
            case .line(let line):
                let reply = try decode(line)
                // Its process closes the connection by its own end.
                if request.command == .stop { connection.awaitEnd(seconds: Self.endSeconds) }
                return reply
            case .closed: throw closed
            case .silent where request.command == .stop:
                guard isAnswering() else { throw frozen(connection.owner) }
                throw RunningSimulation.failure(
                    "simulation '\(name)' has not ended after \(Int(Self.endSeconds)) s; its frame is not over yet")
            case .silent:
                guard RunningSimulation.isRunning(name) else { throw RunningSimulation.ended(name) }
                if !isTold && !isAnswering() {
                    isTold = true
                    Console().warning("\(frozen(connection.owner).cause); this goes on waiting")
                }
            }
        }
    }

    private func isAnswering() -> Bool { (try? status()) != nil }

    /// The connection is gone: the run is over, or it has had to choose whom it speaks to. A process that is killed closes
    /// its connections before it stops listening, so only an answer tells that it goes on.
    private var closed: any Error {
        guard RunningSimulation.isRunning(name), let socket = UnixSocket.connect(to: ByteString(path)) else {
            return RunningSimulation.ended(name)
        }
        let connection = ControlChannel(socket: socket)
        defer { connection.close() }
        let sending = try? connection.send(ControlRequest(command: .status), seconds: Self.patienceSeconds)
        guard case .sent = sending else { return RunningSimulation.ended(name) }
        switch connection.receive(seconds: Self.patienceSeconds) {
        case .line:
            return RunningSimulation.failure("simulation '\(name)' has closed the connection and goes on; try again")
        case .silent: return frozen(connection.owner)
        case .closed: return RunningSimulation.ended(name)
        }
    }

    /// False when the other side is gone.
    private func send(_ request: ControlRequest, _ connection: ControlChannel) throws -> Bool {
        switch try connection.send(request, seconds: Self.endSeconds) {
        case .sent: return true
        case .closed: return false
        case .silent: throw frozen(connection.owner)
        }
    }

    private var path: String { "\(RunFolder.path(of: name))/control.sock" }

    private func frozen(_ owner: Int32?) -> RunFailure {
        RunningSimulation.failure(
            "simulation '\(name)'\(owner.map { " (pid \($0))" } ?? "") does not answer; it may be stopped")
    }

    /// How the simulation is.
    /// - Throws: `RunFailure` when it has ended or does not answer.
    func status() throws -> RunStatus {
        let connection = try connect()
        defer { connection.close() }
        guard try send(ControlRequest(command: .status), connection) else { throw closed }
        switch connection.receive(seconds: Self.patienceSeconds) {
        case .line(let line):
            guard let status = try decode(line).status else { throw garbled }
            return status
        case .closed: throw closed
        case .silent:
            throw frozen(connection.owner)
        }
    }

    /// A run that has just begun opens its socket in a moment.
    private func connect() throws -> ControlChannel {
        let giveUp = monotonicSeconds() + Self.patienceSeconds
        while true {
            if let socket = UnixSocket.connect(to: ByteString(path)) { return ControlChannel(socket: socket) }
            let isFull = errno == EAGAIN
            guard RunningSimulation.isRunning(name) else { throw RunningSimulation.ended(name) }
            guard monotonicSeconds() < giveUp else {
                if isFull { throw frozen(nil) }
                throw RunningSimulation.failure("the simulation '\(name)' opens no control socket at \(path)")
            }
            usleep(5000)
        }
    }

    private func decode(_ line: [UInt8]) throws -> ControlReply {
        guard let reply = try? JSONDecoder().decode(ControlReply.self, from: Data(line)) else { throw garbled }
        if let error = reply.error { throw RunningSimulation.failure(error) }
        return reply
    }

    private var garbled: any Error {
        RunningSimulation.failure(
            "the simulation '\(name)' answers in words this version does not know; was it started by another?")
    }
}

/// One line there, one line back.
private final class ControlChannel {
    enum Answer {
        case line([UInt8])
        case closed, silent
    }
    enum Sending {
        case sent, closed, silent
    }
    let socket: Int32
    /// What has come of an answer, and how much of it is known to have no end.
    private var line: [UInt8] = []
    private var scanned = 0

    init(socket: Int32) { self.socket = socket }

    func close() { Glibc.close(socket) }

    /// The process that listens.
    var owner: Int32? {
        // pid, uid, gid.
        var credentials: [Int32] = [0, 0, 0]
        var size = socklen_t(12)
        return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 ? credentials[0] : nil
    }

    /// - Parameter seconds: in which the other side must take something.
    func send(_ request: ControlRequest, seconds: Double) throws -> Sending {
        var line = try JSONEncoder().encode(request)
        line.append(UInt8(ascii: "\n"))
        var sent = 0
        while sent < line.count {
            let count = line.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                guard isReady(POLLOUT, until: monotonicSeconds() + seconds) else { return .silent }
            } else if errno != EINTR {
                return .closed
            }
        }
        return .sent
    }

    /// An answer; what has come of one that is not whole by then is kept for the next call.
    func receive(seconds: Double) -> Answer {
        let giveUp = monotonicSeconds() + seconds
        var room = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            if let end = line[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { (line, scanned) = ([], 0) }
                return .line(Array(line[..<end]))
            }
            scanned = line.count
            guard isReady(POLLIN, until: giveUp) else { return .silent }
            let count = recv(socket, &room, room.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return .closed }
            line += room[..<count]
        }
    }

    func awaitEnd(seconds: Double) {
        let giveUp = monotonicSeconds() + seconds
        var room = [UInt8](repeating: 0, count: 64)
        while isReady(POLLIN, until: giveUp), recv(socket, &room, room.count, 0) > 0 {}
    }

    private func isReady(_ events: Int32, until giveUp: Double) -> Bool {
        while true {
            var entry = pollfd(fd: socket, events: Int16(events), revents: 0)
            let left = max(0, giveUp - monotonicSeconds())
            let count = poll(&entry, 1, Int32((left * 1000).rounded(.up)))
            if count > 0 { return true }
            if count == 0 { return false }
        }
    }
}

private func monotonicSeconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}
