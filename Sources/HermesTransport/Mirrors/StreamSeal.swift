import CSodium

/// One direction of a mirror stream, encrypted and authenticated: libsodium's secretstream (XChaCha20-Poly1305), which also
/// finds records that are missing, repeated or out of order.
final class StreamSeal {
    typealias State = crypto_secretstream_xchacha20poly1305_state

    static let keySize = 32
    /// Bytes that begin a direction.
    static let headerSize = 24
    /// Bytes that a sealed record is longer by.
    static let overhead = 17

    private let state = UnsafeMutablePointer<State>.allocate(capacity: 1)

    private init() {
        Self.begin
        precondition(
            Self.keySize == crypto_secretstream_xchacha20poly1305_keybytes()
                && Self.headerSize == crypto_secretstream_xchacha20poly1305_headerbytes()
                && Self.overhead == crypto_secretstream_xchacha20poly1305_abytes(), "another libsodium")
    }

    deinit {
        sodium_memzero(state, MemoryLayout<State>.size)
        state.deallocate()
    }

    /// For the side that sends, with the fresh header that begins the direction.
    static func sending(key: [UInt8]) -> (seal: StreamSeal, header: [UInt8]) {
        let seal = StreamSeal()
        var header = [UInt8](repeating: 0, count: headerSize)
        crypto_secretstream_xchacha20poly1305_init_push(seal.state, &header, key)
        return (seal, header)
    }

    /// For the side that receives; nil for bytes that are no header.
    static func receiving(key: [UInt8], header: [UInt8]) -> StreamSeal? {
        let seal = StreamSeal()
        guard header.count == headerSize, crypto_secretstream_xchacha20poly1305_init_pull(seal.state, header, key) == 0
        else { return nil }
        return seal
    }

    /// Writes `clear.count + overhead` bytes.
    /// - Parameter head: bytes that are proved along without being part of it.
    func seal(_ clear: UnsafeRawBufferPointer, into sealed: UnsafeMutableRawPointer, head: [UInt8] = []) {
        crypto_secretstream_xchacha20poly1305_push(
            state, sealed.assumingMemoryBound(to: UInt8.self), nil,
            clear.baseAddress?.assumingMemoryBound(to: UInt8.self),
            UInt64(clear.count), head.isEmpty ? nil : head, UInt64(head.count), 0)
    }

    /// Writes `sealed.count - overhead` bytes; false for what the other side has not sealed next.
    func open(_ sealed: UnsafeRawBufferPointer, into clear: UnsafeMutableRawPointer, head: [UInt8] = []) -> Bool {
        guard sealed.count >= Self.overhead else { return false }
        var tag: UInt8 = 0
        return crypto_secretstream_xchacha20poly1305_pull(
            state, clear.assumingMemoryBound(to: UInt8.self), nil, &tag,
            sealed.baseAddress!.assumingMemoryBound(to: UInt8.self), UInt64(sealed.count), head.isEmpty ? nil : head,
            UInt64(head.count)) == 0
    }

    /// Chooses what is fastest on this processor, once.
    private static let begin: Void = precondition(sodium_init() >= 0, "libsodium has no random numbers")

    static func makeKey() -> [UInt8] {
        begin
        var key = [UInt8](repeating: 0, count: keySize)
        randombytes_buf(&key, keySize)
        return key
    }
}

/// A key of one direction of one stream of one run, as messages carry it: 64 hexadecimal digits.
public enum StreamKey {
    public static func generate() -> String { Hexadecimal.text(StreamSeal.makeKey()) }

    /// The bytes, nil for what is no key.
    static func bytes(_ text: String) -> [UInt8]? { Hexadecimal.bytes(text, count: StreamSeal.keySize) }
}
