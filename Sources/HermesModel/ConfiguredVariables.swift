/// Which variables of the environment a configuration may set for a module on a host. A configuration comes from another
/// machine: it says what a program does, not what else runs there. So names are allowed by a list, for of those that make a
/// shell, a linker, an interpreter or a library run something else (PATH, BASH_ENV, NODE_OPTIONS...) no list is ever whole.
public struct ConfiguredVariables: Sendable, Equatable {
    /// Names, or what names begin with where a `*` follows, that whoever runs the node has allowed.
    public var allowed: [String]

    public init(allowed: [String] = []) { self.allowed = allowed }

    /// Beginnings of names that are for settings of modules; no common program takes one for its own.
    public static let prefixes = ["SIM_", "MODULE_", "MODEL_", "APP_"]
    /// Names that many programs know and that name neither programs nor files.
    public static let names: Set<String> = [  // ASCII
        "TZ", "LANG", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES", "TERM",
        "NO_COLOR", "OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PLACES", "OMP_PROC_BIND", "OMP_SCHEDULE", "OMP_STACKSIZE",
        "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS", "GOMAXPROCS", "JULIA_NUM_THREADS", "RUST_LOG", "RUST_BACKTRACE",
    ]
    /// Beginnings of names that no option of a node allows: they are Hermes's own, or decide what every program is.
    public static let neverPrefixes = ["LD_", "PYTHON", "HERMES_"]

    /// Why a configuration may not set the variable: a sentence with its cure; nil when it may.
    public func refusal(_ name: String, _ value: String) -> String? {
        guard Self.isName(name), !value.utf8.contains(0) else {
            return "'\(name)' can't be a variable of the environment"
        }
        if let prefix = Self.neverPrefix(of: name) {
            return
                "a node takes no \(prefix)* variables from a configuration, so not \(name); set it for hermes-node itself"
        }
        if allowed.contains(where: { Self.matches(name, $0) }) { return nil }
        if Self.names.contains(name) {
            return Self.namesFile(name, value) ? "\(name) may not name a file on a node, as '\(value)' does" : nil
        }
        if Self.prefixes.contains(where: { name.utf8.starts(with: $0.utf8) }) { return nil }
        return "a node takes \(name) from no configuration: begin names of a module's own settings with "
            + "\(Self.prefixes.joined(separator: ", ")), set it for hermes-node itself, or start hermes-node with "
            + "--allow-env \(name)"
    }

    /// A locale may be the path of a file, and so may a time zone.
    private static func namesFile(_ name: String, _ value: String) -> Bool {
        if name == "TZ" {
            return value.utf8.first == UInt8(ascii: ":") || value.utf8.first == UInt8(ascii: "/")
                || value.utf8.contains(UInt8(ascii: "."))
        }
        return name.utf8.starts(with: "LANG".utf8) || name.utf8.starts(with: "LC_".utf8)
            ? value.utf8.contains(UInt8(ascii: "/")) : false
    }

    /// Which of the beginnings that nobody can allow a name has.
    public static func neverPrefix(of name: String) -> String? {
        neverPrefixes.first { name.utf8.starts(with: $0.utf8) }
    }

    /// What is wrong with a word given to allow names; nil for a name, or the beginning of one and a `*`.
    public static func fault(ofAllowed word: String) -> String? {
        let name = word.utf8.last == UInt8(ascii: "*") ? String(word.dropLast()) : word
        guard isName(name) else { return "takes the name of a variable, or how names begin and a *, not '\(word)'" }
        return neverPrefix(of: name).map { "can't allow \($0)* variables; set them for hermes-node itself" }
    }

    private static func matches(_ name: String, _ word: String) -> Bool {
        word.utf8.last == UInt8(ascii: "*")
            ? name.utf8.starts(with: word.utf8.dropLast()) : name.utf8.elementsEqual(word.utf8)
    }

    private static func isName(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.enumerated().allSatisfy { index, byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"):
                    true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): index > 0
                default: false
                }
            }
    }
}
