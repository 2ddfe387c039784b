/// Paths that start at a node's module root and stay beneath it.
public enum PathBeneath {
    /// In bytes, as Linux has it.
    private static let longestPath = 4000
    private static let longestName = 255

    /// Why a path does not: a verb and what is wrong. Nil for one that does.
    public static func fault(in path: String) -> String? {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"))
        if path.utf8.first == UInt8(ascii: "/") { return "is absolute" }
        if parts.contains(where: { $0.elementsEqual("..".utf8) }) { return "has a `..`" }
        if path.utf8.count > longestPath || parts.contains(where: { $0.count > longestName }) { return "is too long" }
        if path.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) {
            return "has a control character"
        }
        return path.isEmpty ? "is empty" : nil
    }

    /// Without empty and `.` parts: one text for one place. Empty for the root itself.
    public static func tidied(_ path: String) -> String {
        path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }
}
