import CLinux

/// What this process was started with.
public enum ProcessArguments {
    /// As bytes, the program's own name first; none at all where a program is started without even that. Not
    /// `CommandLine.arguments`, which is empty when a preloaded library changes the environment early, and repairs what is
    /// not UTF-8.
    public static let all: [ByteString] = {
        var count: Int32 = 0
        guard let arguments = linux_arguments(&count) else { return [] }
        return (0..<Int(count)).compactMap { arguments[$0].map { ByteString(cString: $0) } }
    }()

    /// Without the program's name.
    public static var words: [ByteString] { Array(all.dropFirst()) }
}
