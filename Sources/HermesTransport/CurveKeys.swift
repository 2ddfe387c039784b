import CZeroMQ
import Glibc
import HermesModel
import HermesSystem

/// A CurveZMQ key pair, each key 40 characters of Z85 (ZeroMQ RFC 32).
public struct CurveKeys: Sendable, Equatable {
    public var publicKey: String
    public var secretKey: String

    public init(publicKey: String, secretKey: String) {
        self.publicKey = publicKey
        self.secretKey = secretKey
    }

    public static func generate() -> CurveKeys {
        var open = [CChar](repeating: 0, count: 41), secret = open
        let code = zmq_curve_keypair(&open, &secret)
        precondition(code == 0, "this libzmq comes without CURVE")
        return CurveKeys(publicKey: text(open), secretKey: text(secret))
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The pair whose secret key a file holds, as `write(to:)` wrote it.
    /// - Throws: `TransportError` when the file can't be read, others may read it, or it holds no key.
    public static func load(secretFile path: ByteString) throws -> CurveKeys {
        var status = stat()
        guard stat(path.cString, &status) == 0 else { throw failure("the key \(path) can't be read") }
        guard !path.hasSuffix(".pub") else {
            throw TransportError(text: "\(path) is a public key; the secret one is \(path.dropLast(4))")
        }
        guard status.st_mode & 0o077 == 0 else {
            // A public key is readable by all; to hide it would not make it a secret one.
            if let key = try? key(in: path), PublicKey.canBePublic(key) {
                throw TransportError(
                    text: "\(path) holds a public key, as it seems, and this takes the secret one, the file that "
                        + "`hermes keygen` made without .pub; if it is that, others may read it: chmod 600 \(path)")
            }
            throw TransportError(text: "others may read the secret key \(path); run: chmod 600 \(path)")
        }
        try refuseForeignWriters(path, "the secret key", "put a key of theirs in its place")
        let secret = try key(in: path)
        var open = [CChar](repeating: 0, count: 41)
        guard zmq_curve_public(&open, secret) == 0 else {
            throw TransportError(text: "\(path) holds no secret key; make one with `hermes keygen`")
        }
        return CurveKeys(publicKey: text(open), secretKey: secret)
    }

    /// The public key in a file, its first line.
    /// - Throws: `TransportError` when it can't be read, or holds the secret key.
    public static func loadPublic(_ path: ByteString) throws -> String {
        let found = try key(in: path)
        var open = [CChar](repeating: 0, count: 41)
        let isSecretBesideIt =
            zmq_curve_public(&open, found) == 0 && (try? key(in: path + ".pub")) == text(open)
        guard PublicKey.canBePublic(found), !isSecretBesideIt else {
            let other = isSecretBesideIt ? "\(path).pub" : "its .pub file"
            throw TransportError(
                text: "\(path) holds a secret key, and this takes the public one, \(other); a secret key stays "
                    + "where it was made: if this one was copied here, make another with `hermes keygen`")
        }
        return found
    }

    /// True for 40 characters that stand for 32 bytes.
    public static func isKey(_ text: String) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 32)
        return text.utf8.count == 40 && zmq_z85_decode(&bytes, text) != nil
    }

    /// - Parameter deed: what others could do who may write to it.
    static func refuseForeignWriters(_ path: ByteString, _ what: String, _ deed: String) throws {
        do {
            try TrustedPath.check(path)
        } catch let untrusted as TrustedPath.Untrusted {
            throw TransportError(text: "\(what) \(path): others could \(deed): \(untrusted)")
        } catch {
            throw TransportError(text: "\(what) \(path) can't be read: \(error)")
        }
    }

    private static func key(in path: ByteString) throws -> String {
        guard let file = fopen(path.cString, "re") else { throw failure("the key \(path) can't be read") }
        defer { fclose(file) }
        var room = [CChar](repeating: 0, count: 256)
        fgets(&room, Int32(room.count), file)
        let line = text(room.filter { $0 != 10 && $0 != 13 })
        guard isKey(line) else {
            throw TransportError(text: "\(path) holds no key of 40 characters; make one with `hermes keygen`")
        }
        return line
    }

    /// Writes the secret key to `path`, mode 0600, and the public one to `path`.pub. Neither may be there.
    public func write(to path: ByteString) throws {
        try Self.write(secretKey, to: path, mode: 0o600)
        do {
            try Self.write(publicKey, to: path + ".pub", mode: 0o644)
        } catch {
            unlink(path.cString)
            throw error
        }
    }

    private static func write(_ key: String, to path: ByteString, mode: mode_t) throws {
        let file = open(path.cString, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else {
            if errno == EEXIST {
                throw TransportError(text: "\(path) is there already; remove it or name another file")
            }
            throw failure("\(path) can't be written")
        }
        defer { close(file) }
        let line = Array((key + "\n").utf8)
        guard Glibc.write(file, line, line.count) == line.count, fsync(file) == 0 else {
            let error = failure("\(path) can't be written")
            unlink(path.cString)
            throw error
        }
    }

    private static func failure(_ what: String) -> TransportError {
        TransportError(text: "\(what): \(SystemError.reason(errno))")
    }
}
