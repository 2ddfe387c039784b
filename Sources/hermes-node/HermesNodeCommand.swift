import ArgumentParser
import CLinux
import Glibc
import HermesNode
import HermesProtocol
import HermesSystem
import HermesTransport

@main
struct HermesNodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hermes-node",
        abstract: "Runs this host's part of simulations that `hermes run` starts elsewhere.",
        discussion: """
            It opens its port and, for each simulation, one of the range; modules are started beneath the module root only.
            Off loopback it needs a key of its own and the public keys of the coordinators it accepts.
            Examples:
              hermes-node --listen tcp://127.0.0.1:7600 --modules .
              hermes keygen bench.key
              hermes-node --listen tcp://10.0.0.2:7600 --modules /srv/modules --key bench.key --accept desk.key.pub
            """,
        version: hermesVersion)

    @Option(help: ArgumentHelp("tcp://ADDRESS:PORT, or ipc://PATH for users of this machine.", valueName: "endpoint"))
    var listen: ByteString = "tcp://127.0.0.1:7600"
    @Option(
        help: ArgumentHelp("The folder beneath which modules lie; nobody else may write to it.", valueName: "folder"))
    var modules: ByteString
    @Option(
        help: ArgumentHelp("Ports for simulations, one each; PORT+1 to PORT+99 if not given.", valueName: "first-last"))
    var ports: String?
    @Option(help: ArgumentHelp("The node's secret key, made with `hermes keygen`.", valueName: "file"))
    var key: ByteString?
    @Option(
        help: ArgumentHelp("The public key of a coordinator, or a folder of such. Repeatable.", valueName: "file.pub"))
    var accept: [ByteString] = []
    @Flag(help: "Listen off loopback without keys: whoever reaches the port may run programs as this user.")
    var insecure = false
    @Flag(help: "Allow modules of `type: inproc`, which can take down the run they belong to.")
    var allowInproc = false
    @Option(
        help: ArgumentHelp(
            "Let configurations set this variable of a module's environment, too; NAME* for all that begin so. Repeatable.",
            valueName: "name"))
    var allowEnv: [String] = []
    @Flag(help: "Take no files from `hermes push`.")
    var noPush = false
    @Flag(name: .shortAndLong, help: "Only warnings.")
    var quiet = false
    @Flag(name: .shortAndLong, help: "Also what modules print.")
    var verbose = false

    static func main() {
        linux_reset_inherited()
        if ProcessArguments.words == ["--worker"] { Glibc.exit(RunWorker.run(descriptor: 3)) }
        do {
            var command = try parseAsRoot(ProcessArguments.texts)
            try command.run()
        } catch {
            let message = ByteString.shownLines(ofEncoded: fullMessage(for: error)), code = exitCode(for: error)
            if !message.isEmpty { try? ByteString(message + "\n").write(to: code == .success ? 1 : 2) }
            Glibc.exit(code.rawValue)
        }
    }

    func validate() throws {
        _ = try address()
        for word in allowEnv {
            if let fault = NodeAgent.Settings.fault(ofAllowed: word) { throw ValidationError("--allow-env \(fault)") }
        }
        if key == nil && !accept.isEmpty { throw ValidationError("--accept needs --key, the node's own") }
        if key != nil && accept.isEmpty {
            throw ValidationError("--key needs --accept, the coordinators that may come")
        }
    }

    private func address() throws -> ListenAddress {
        do {
            return try ListenAddress(listen, ports: ports)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    func run() throws {
        let address = try address()
        guard address.isLocal || key != nil || insecure else {
            throw ValidationError(
                "\(listen) is reached from other machines: give --key and --accept (`hermes keygen` makes keys), or --insecure"
            )
        }
        let log = NodeLog(quiet ? .quiet : verbose ? .verbose : .normal)
        do {
            let accepted = accept
            let installation = Installation.here
            if key != nil { _ = try AcceptedKeys.read(accepted) }
            let agent = try NodeAgent(
                NodeAgent.Settings(
                    endpoint: address.endpoint, ports: address.ports, root: modules,
                    keys: key.map { try CurveKeys.load(secretFile: $0) },
                    accepts: { key in
                        do {
                            return try AcceptedKeys.read(accepted).contains(key)
                        } catch {
                            log.warning("no coordinator is let in: \(error)")
                            return false
                        }
                    }, allowsInproc: allowInproc,
                    allowedVariables: allowEnv, allowsPush: !noPush, version: hermesVersion,
                    pythonPath: installation.pythonPath,
                    library: installation.library),
                log: log)
            agent.serve(signals: try receiveSignals())
            if let path = address.path { unlink(path.cString) }
        } catch {
            log.error("\(error)")
            throw ExitCode(2)
        }
    }
}
