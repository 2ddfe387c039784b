import HermesProtocol
import Testing

@testable import HermesTransport

@Suite struct StreamSealTests {
    let records: [[UInt8]] = [[1, 2, 3], [], Array(repeating: 9, count: 5000), [4]]

    /// What is sealed one after the other, and somebody who holds the key.
    func sealed() -> (records: [[UInt8]], opening: StreamSeal) {
        let key = StreamSeal.makeKey(), (seal, header) = StreamSeal.sending(key: key)
        let sealed = records.map { clear in
            var bytes = [UInt8](repeating: 0, count: clear.count + StreamSeal.overhead)
            clear.withUnsafeBytes { clear in bytes.withUnsafeMutableBytes { seal.seal(clear, into: $0.baseAddress!) } }
            return bytes
        }
        return (sealed, StreamSeal.receiving(key: key, header: header)!)
    }

    func open(_ bytes: [UInt8], _ seal: StreamSeal) -> [UInt8]? {
        var clear = [UInt8](repeating: 0, count: max(bytes.count, 1))
        let isOpened = bytes.withUnsafeBytes { sealed in
            clear.withUnsafeMutableBytes { seal.open(sealed, into: $0.baseAddress!) }
        }
        return isOpened ? Array(clear[..<(bytes.count - StreamSeal.overhead)]) : nil
    }

    @Test func whatIsSealedOpensInOrder() {
        let (sealed, opening) = sealed()
        #expect(sealed.map { open($0, opening) } == records)
    }

    @Test func aLostRecordIsFound() {
        let (sealed, opening) = sealed()
        #expect(open(sealed[0], opening) == records[0])
        #expect(open(sealed[2], opening) == nil)
    }

    @Test func aRepeatedRecordIsFound() {
        let (sealed, opening) = sealed()
        #expect(open(sealed[0], opening) == records[0])
        #expect(open(sealed[0], opening) == nil)
    }

    @Test func swappedRecordsAreFound() {
        let (sealed, opening) = sealed()
        #expect(open(sealed[1], opening) == nil)
    }

    @Test func everyByteCounts() {
        let (sealed, opening) = sealed()
        for place in sealed[0].indices {
            var wrong = sealed[0]
            wrong[place] ^= 1
            #expect(open(wrong, opening) == nil, "byte \(place)")
        }
        #expect(open(Array(sealed[0].dropLast()), opening) == nil && open([], opening) == nil)
        #expect(open(sealed[0], opening) == records[0], "what is refused changes nothing")
    }

    @Test func anotherDirectionsRecordIsRefused() {
        let (mine, _) = sealed(), (_, theirs) = sealed()
        #expect(open(mine[0], theirs) == nil)
    }

    @Test func keysAreSixtyFourHexadecimalDigits() {
        let key = StreamKey.generate()
        #expect(key.utf8.count == 64 && StreamKey.bytes(key)?.count == 32 && StreamKey.generate() != key)
        #expect(StreamKey.bytes(String(repeating: "0f", count: 32)) == [UInt8](repeating: 15, count: 32))
        #expect(StreamKey.bytes(String(key.dropLast())) == nil && StreamKey.bytes(key + "0") == nil)
        #expect(StreamKey.bytes(String(key.dropLast()) + "g") == nil)
        #expect(StreamKey.bytes(String(repeating: "\u{e9}", count: 32)) == nil && StreamKey.bytes("") == nil)
        func peer(_ send: String?, _ receive: String?) -> SetUp.Stream {
            SetUp.Stream(index: 1, endpoint: nil, path: nil, sendKey: send, receiveKey: receive)
        }
        #expect(peer(nil, nil).isSound && peer(key, key).isSound)
        #expect(!peer(key, nil).isSound && !peer(nil, key).isSound && !peer(key, "0").isSound)
    }
}
