import HermesSystem

/// Paths that start at a node's module root and stay beneath it.
public enum PathBeneath {
    /// In bytes, as Linux has it.
    private static let longestPath = 4000
    private static let longestName = 255

    /// Why a path does not: a verb and what is wrong. Nil for one that does.
    public static func fault(in path: ByteString) -> String? {
        let parts = path.pathComponents
        if path.isAbsolutePath { return "is absolute" }
        if parts.contains("..") { return "has a `..`" }
        if path.count > longestPath || parts.contains(where: { $0.count > longestName }) { return "is too long" }
        if path.bytes.contains(where: { $0 < 32 || $0 == 127 }) { return "has a control character" }
        return path.isEmpty ? "is empty" : nil
    }
}
