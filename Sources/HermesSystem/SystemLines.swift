import Glibc

/// The lines of a file by which the kernel tells of something, one after the other and without their ends; none when it
/// can't be read.
public final class SystemLines: Sequence, IteratorProtocol {
    private let file: UnsafeMutablePointer<FILE>?
    private var room: UnsafeMutablePointer<CChar>?
    private var capacity = 0

    public init(_ path: String) { file = fopen(path, "re") }

    deinit {
        if let file { fclose(file) }
        free(room)
    }

    public func next() -> String? {
        guard let file else { return nil }
        let count = getline(&room, &capacity, file)
        guard count > 0, let room else { return nil }
        let length = room[count - 1] == 10 ? count - 1 : count
        return String(decoding: UnsafeRawBufferPointer(start: room, count: length), as: UTF8.self)
    }

    /// Nil when there is none, or nothing in it.
    public static func first(of path: String) -> String? { SystemLines(path).next().flatMap { $0.isEmpty ? nil : $0 } }
}
