import HermesModel
import HermesSystem
import HermesTransport

extension NodeAgent {
    public struct Settings: Sendable {
        /// `tcp://ADDRESS:PORT` or `ipc://PATH`.
        public var endpoint: ByteString
        /// Where runs listen: each takes one.
        public var ports: ClosedRange<Int>
        public var root: ByteString
        public var keys: CurveKeys?
        /// Tells whether a coordinator with this public key may speak here.
        public var accepts: @Sendable (_ publicKey: String) -> Bool
        public var allowsInproc: Bool
        /// Variables that configurations may set beside those of the list (`ConfiguredVariables`).
        public var allowedVariables: [String]
        public var allowsPush: Bool
        public var version: String
        public var pythonPath: ByteString?
        public var library: ByteString?

        /// What is wrong with a word of `allowedVariables`; nil for a name, or the beginning of names and a `*`.
        public static func fault(ofAllowed word: String) -> String? { ConfiguredVariables.fault(ofAllowed: word) }

        public init(
            endpoint: ByteString, ports: ClosedRange<Int>, root: ByteString, keys: CurveKeys?,
            accepts: @escaping @Sendable (String) -> Bool, allowsInproc: Bool, allowedVariables: [String],
            allowsPush: Bool, version: String, pythonPath: ByteString?, library: ByteString?
        ) {
            self.endpoint = endpoint
            self.ports = ports
            self.root = root
            self.keys = keys
            self.accepts = accepts
            self.allowsInproc = allowsInproc
            self.allowedVariables = allowedVariables
            self.allowsPush = allowsPush
            self.version = version
            self.pythonPath = pythonPath
            self.library = library
        }
    }
}
