import HermesTransport

extension NodeAgent {
    public struct Settings: Sendable {
        /// `tcp://ADDRESS:PORT` or `ipc://PATH`.
        public var endpoint: String
        /// Where runs listen: each takes one.
        public var ports: ClosedRange<Int>
        public var root: String
        public var keys: CurveKeys?
        /// Tells whether a coordinator with this public key may speak here.
        public var accepts: @Sendable (_ publicKey: String) -> Bool
        public var allowsInproc: Bool
        public var allowsPush: Bool
        public var version: String
        public var pythonPath: String?
        public var library: String?

        public init(
            endpoint: String, ports: ClosedRange<Int>, root: String, keys: CurveKeys?,
            accepts: @escaping @Sendable (String) -> Bool, allowsInproc: Bool, allowsPush: Bool, version: String,
            pythonPath: String?, library: String?
        ) {
            self.endpoint = endpoint
            self.ports = ports
            self.root = root
            self.keys = keys
            self.accepts = accepts
            self.allowsInproc = allowsInproc
            self.allowsPush = allowsPush
            self.version = version
            self.pythonPath = pythonPath
            self.library = library
        }
    }
}
