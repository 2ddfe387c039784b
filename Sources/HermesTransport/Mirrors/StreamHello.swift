import HermesProtocol

/// The first bytes of each direction of a mirror stream, little-endian (docs/protocol.md). They prove run, epoch and both
/// hosts: sealed by the direction's key, or, where streams are plain, by the run's token.
///
///      0  u32  magic, "HRMS"
///      4  u8   version of the stream, 1
///      5  u8   1 sealed, 0 plain
///      6  u16  index of the host that speaks
///      8  u16  index of the host spoken to
///     10  u16  0
///     12       sealed: 24 bytes, the header of the direction; then 33, the sealed 16 bytes of the proof
///              plain:  16 bytes, the proof; then 64, the token, zeros behind it
///
/// The proof: u64 run, u32 epoch, u16 and u16 the two indices again. What stands before the header is proved along.
struct StreamHello: Equatable {
    static let magic: UInt32 = 0x534D_5248
    static let version: UInt8 = 1
    static let headSize = 12
    static let proofSize = 16
    static let tokenSize = 64
    static let sealedSize = headSize + StreamSeal.headerSize + proofSize + StreamSeal.overhead
    static let plainSize = headSize + proofSize + tokenSize

    var run: UInt64
    var epoch: UInt32 = 0
    var from: Int
    var to: Int

    private func head(isSealed: Bool) -> [UInt8] {
        Self.bytes(Self.magic) + [Self.version, isSealed ? 1 : 0] + Self.bytes(UInt16(truncatingIfNeeded: from))
            + Self.bytes(UInt16(truncatingIfNeeded: to)) + [0, 0]
    }

    private var proof: [UInt8] {
        Self.bytes(run) + Self.bytes(epoch) + Self.bytes(UInt16(truncatingIfNeeded: from))
            + Self.bytes(UInt16(truncatingIfNeeded: to))
    }

    func plain(token: String) -> [UInt8] {
        let text = Array(token.utf8.prefix(Self.tokenSize))
        return head(isSealed: false) + proof + text + Array(repeating: 0, count: Self.tokenSize - text.count)
    }

    /// - Returns: the bytes, and what seals everything after them.
    func sealed(key: [UInt8]) -> (bytes: [UInt8], seal: StreamSeal) {
        let (seal, header) = StreamSeal.sending(key: key)
        let head = head(isSealed: true)
        var sealedProof = [UInt8](repeating: 0, count: Self.proofSize + StreamSeal.overhead)
        proof.withUnsafeBytes { clear in
            sealedProof.withUnsafeMutableBytes { seal.seal(clear, into: $0.baseAddress!, head: head) }
        }
        return (head + header + sealedProof, seal)
    }

    /// Who says the first bytes to whom, and how many there will be; nil for what is no hello.
    static func head(of bytes: [UInt8]) -> (from: Int, to: Int, isSealed: Bool, size: Int)? {
        guard bytes.count >= headSize, Array(bytes[0..<4]) == Self.bytes(magic), bytes[4] == version, bytes[5] <= 1,
            bytes[10] == 0, bytes[11] == 0
        else { return nil }
        let isSealed = bytes[5] == 1
        return (
            Int(bytes[6]) | Int(bytes[7]) << 8, Int(bytes[8]) | Int(bytes[9]) << 8, isSealed,
            isSealed ? sealedSize : plainSize
        )
    }

    func isProved(byPlain bytes: [UInt8], token: String) -> Bool {
        // In a time that says nothing about the token.
        let due = plain(token: token)
        guard bytes.count == due.count else { return false }
        return zip(bytes, due).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// What opens everything after a sealed hello that says this; nil for any other.
    func opened(_ bytes: [UInt8], key: [UInt8]) -> StreamSeal? {
        let head = head(isSealed: true)
        guard bytes.count == Self.sealedSize, Array(bytes[..<Self.headSize]) == head,
            let seal = StreamSeal.receiving(
                key: key, header: Array(bytes[Self.headSize..<(Self.headSize + StreamSeal.headerSize)]))
        else { return nil }
        var clear = [UInt8](repeating: 0, count: Self.proofSize)
        let isSound = bytes[(Self.headSize + StreamSeal.headerSize)...].withUnsafeBytes { sealed in
            clear.withUnsafeMutableBytes { seal.open(sealed, into: $0.baseAddress!, head: head) }
        }
        return isSound && clear == proof ? seal : nil
    }

    private static func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
}
