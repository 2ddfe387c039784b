import CSodium
import Glibc

/// SHA-256 of what comes piece by piece.
public struct FileHash: Sendable {
    private var state = crypto_hash_sha256_state()

    public init() { crypto_hash_sha256_init(&state) }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        crypto_hash_sha256_update(&state, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count))
    }

    /// 64 hexadecimal digits, lower case.
    public mutating func finish() -> String {
        var bytes = [UInt8](repeating: 0, count: 32)
        crypto_hash_sha256_final(&state, &bytes)
        return Hexadecimal.text(bytes)
    }

    /// Of an open file, from its beginning; nil, with errno, when it can't be read.
    /// - Parameter isWanted: asked between pieces; false gives up with ECANCELED.
    public static func of(descriptor: Int32, isWanted: () -> Bool = { true }) -> String? {
        var hash = FileHash(), offset = 0
        var room = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            guard isWanted() else {
                errno = ECANCELED
                return nil
            }
            let count = pread(descriptor, &room, room.count, offset)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return hash.finish() }
            room.withUnsafeBytes { hash.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            offset += count
        }
    }
}
