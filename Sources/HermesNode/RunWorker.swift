import CKeeper
import CLinux
import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport

/// What a node tells the process it starts for one run.
struct WorkerOrder: MessageBody {
    var open: OpenRun
    /// The module root.
    var root: ByteString
    /// Addresses to listen on at one port of a range, or a path.
    var addresses: [String]
    var firstPort: Int
    var lastPort: Int
    var path: ByteString?
    var allowsInproc: Bool
    /// What else a configuration may set (`ConfiguredVariables`).
    var allowedVariables: [String]
    var pythonPath: ByteString?
    var library: ByteString?
    /// Seconds in which another run of that name has ended here; nil where none ends.
    var nameSeconds: Double?

    /// The coordinator's part; the rest is the node's own.
    func check() throws(UnsoundMessage) { try open.check() }
}

/// What a run's process tells its node first of all: who clears up behind it.
struct KeeperProcess: MessageBody {
    var pid: Int32

    func check() throws(UnsoundMessage) {}
}

/// One run on one host, in a process of its own: whatever happens in it, the node and its other runs go on. It listens for
/// the run's coordinator and peers, and does what they say with an `EmbeddedNode`. It ends with the run, when the
/// coordinator is lost, or when the node is.
public enum RunWorker {
    /// - Parameter descriptor: of the socket to the node.
    /// - Returns: the process's exit code.
    public static func run(descriptor: Int32) -> Int32 {
        // First of all: the keeper is forked while this process has one thread.
        let started = Result { () throws(SystemError) in try startKeeper() }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { linux_disregard(number) }
        // Of modules inside this process; the keeper has those of all others.
        linux_adopt_orphans()
        let channel = LineChannel(descriptor)
        var processKeeper: keeper
        switch started {
        case .success(let keeper): processKeeper = keeper
        case .failure(let error):
            channel.say("refused", Refused("\(error)"))
            return 2
        }
        channel.say("keeper", KeeperProcess(pid: processKeeper.pid))
        followNode(&processKeeper)
        guard let order = channel.next()?.body(WorkerOrder.self) else {
            keeper_finish(&processKeeper)
            return 2
        }
        let service: RunService
        do {
            service = try RunService(order, channel: channel, keeper: &processKeeper)
            try service.start()
        } catch {
            keeper_finish(&processKeeper)
            // Whoever hears it knows whom it asked.
            channel.say("refused", Refused((error as? RunFailure)?.cause ?? "\(error)"))
            return 2
        }
        channel.say("opened", service.entrance.opened)
        service.serve()
        linux_end_children()
        return 0
    }

    /// Has the keeper end this process when the node is gone and this one does not notice: stopped, or stuck.
    private static func followNode(_ processKeeper: inout keeper) {
        let node = keeper_process_open(getppid())
        guard node >= 0 else { return }
        keeper_follow(&processKeeper, node)
        close(node)
    }
}

extension LineChannel {
    func say<Body: MessageBody>(_ what: String, _ body: Body) {
        if let message = try? ControlMessage(what, body) { send(message) }
    }
}
