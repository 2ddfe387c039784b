import ArgumentParser
import HermesProtocol
import HermesSystem
import HermesTransport

struct Keygen: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a key pair, for a node or for whoever runs simulations on nodes.",
        discussion: """
            Writes FILE, the secret key, readable by you alone, and FILE.pub, the public key, which it also prints. Nothing is \
            overwritten. A node's secret key stays on its host; its public key goes into `hosts:` of configurations, and \
            yours to each node, for --accept.
            Example:
              hermes keygen desk.key
            """)

    @Argument(help: ArgumentHelp("The file of the secret key.", valueName: "file"))
    var path: ByteString

    func validate() throws {
        guard !path.isEmpty, !path.hasSuffix("/") else { throw ValidationError("FILE is the path of a file") }
    }

    func run() throws {
        let keys = CurveKeys.generate()
        do {
            try keys.write(to: path)
        } catch let error as TransportError {
            throw RunFailure(.refused, cause: error.description)
        }
        Console().result(keys.publicKey)
    }
}
