import HermesModel
import HermesSystem

/// YAML text to a `Simulation`: the bytes become located nodes (Text), the nodes typed values (Decoding), the values are
/// held against each other and against the file system (Checking). Every fault is found in one pass.
public enum ConfigurationReader {
    /// Reads and validates the configuration at `path`, a regular file; never waits for a FIFO or device. Relative paths in
    /// it start at its folder. Returns warnings beside the value, in file order.
    ///
    /// Throws `ConfigurationError` with every error and warning found, in file order; a file that can't be read is an
    /// error at 1:1.
    public static func read(path: ByteString) throws -> (simulation: Simulation, warnings: [Diagnostic]) {
        let bytes: [UInt8]
        do {
            bytes = try ConfigurationFile.bytes(path: path)
        } catch let diagnostic as Diagnostic {
            throw ConfigurationError([diagnostic])
        }
        return try parse(text: bytes, file: path.description, baseDirectory: path.parentPath)
    }

    /// The same for text; `file` is the name used in messages, `baseDirectory` the folder where relative paths start (itself
    /// relative to the working directory).
    public static func parse(text: [UInt8], file: String, baseDirectory: ByteString) throws -> (
        simulation: Simulation, warnings: [Diagnostic]
    ) {
        let findings = Findings(file: file)
        let paths = DeskPaths(baseDirectory: baseDirectory)
        let draft = decode(text, findings)
        if let draft {
            NameCheck(findings: findings).check(draft)
            HostCheck(findings: findings).check(draft)
            ModuleCheck(findings: findings).check(draft)
            FileCheck(findings: findings, paths: paths).check(draft)
            WiringCheck(findings: findings).check(draft)
            ExecutionCheck(findings: findings).check(draft)
            ErrorPolicyCheck(findings: findings).check(draft)
            RealtimeCheck(findings: findings).check(draft)
        }
        guard let draft, !findings.hasErrors else { throw ConfigurationError(findings.sorted) }
        return (SimulationBuilder(findings: findings, paths: paths).build(draft), findings.sorted)
    }

    /// Nil, with an error in the findings, for text that no simulation can be read from.
    private static func decode(_ text: [UInt8], _ findings: Findings) -> SimulationDraft? {
        do {
            guard let root = try NodeParser.root(of: text, findings: findings) else {
                findings.error(.start, "the file is empty; a configuration needs `version` and `modules`")
                return nil
            }
            if case .scalar(let scalar) = root.content, scalar.meaning == .null {
                findings.error(.start, "the file is empty; a configuration needs `version` and `modules`")
                return nil
            }
            return SimulationDecoder(findings: findings).decode(root)
        } catch let diagnostic as Diagnostic {
            findings.error(diagnostic.location, diagnostic.message)
        } catch {
            findings.error(.start, "\(error)")
        }
        return nil
    }
}
