import Testing

@testable import HermesTransport

/// The bytes are those of docs/protocol.md, section 14.
@Suite struct StreamHelloTests {
    let hello = StreamHello(run: 0x0102_0304_0506_0708, from: 0x0203, to: 0x0405)
    let key = [UInt8](repeating: 7, count: 32)
    let proof: [UInt8] = [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 3, 2, 5, 4]

    func head(isSealed: UInt8) -> [UInt8] { Array("HRMS".utf8) + [1, isSealed, 3, 2, 5, 4, 0, 0] }

    @Test func plainBytes() {
        let bytes = hello.plain(token: "secret")
        #expect(bytes == head(isSealed: 0) + proof + Array("secret".utf8) + Array(repeating: 0, count: 58))
        #expect(bytes.count == 92 && StreamHello.plainSize == 92)
        let read = StreamHello.head(of: bytes)
        #expect(read?.from == 0x0203 && read?.to == 0x0405 && read?.isSealed == false && read?.size == 92)
        #expect(hello.isProved(byPlain: bytes, token: "secret"))
    }

    @Test func sealedBytes() throws {
        let bytes = hello.sealed(key: key).bytes
        #expect(Array(bytes[..<12]) == head(isSealed: 1))
        #expect(bytes.count == 69 && StreamHello.head(of: bytes)?.size == 69)
        // 24 bytes of header, then the proof as the first record, the head beside it.
        let opening = try #require(StreamSeal.receiving(key: key, header: Array(bytes[12..<36])))
        var clear = [UInt8](repeating: 0, count: 16)
        let isOpened = bytes[36...].withUnsafeBytes { sealed in
            clear.withUnsafeMutableBytes { opening.open(sealed, into: $0.baseAddress!, head: head(isSealed: 1)) }
        }
        #expect(isOpened && clear == proof)
        #expect(hello.sealed(key: key).bytes != bytes, "each connection begins with another header")
    }

    @Test(arguments: [0, 3, 4, 5, 10, 11]) func whatIsNoHello(place: Int) {
        var bytes = hello.plain(token: "secret")
        bytes[place] = place == 5 ? 2 : bytes[place] ^ 1
        #expect(StreamHello.head(of: bytes) == nil)
    }

    @Test func aHeadThatIsNotThereYet() { #expect(StreamHello.head(of: Array(head(isSealed: 0)[..<11])) == nil) }

    @Test func everyByteOfAPlainHelloCounts() {
        let bytes = hello.plain(token: "secret")
        for place in bytes.indices {
            var wrong = bytes
            wrong[place] ^= 0x10
            #expect(!hello.isProved(byPlain: wrong, token: "secret"), "byte \(place)")
        }
        for other in ["", "secre", "secret2", "Secret"] { #expect(!hello.isProved(byPlain: bytes, token: other)) }
        #expect(!hello.isProved(byPlain: Array(bytes.dropLast()), token: "secret"))
        #expect(!hello.isProved(byPlain: bytes + [0], token: "secret"))
    }

    @Test func everyByteOfASealedHelloCounts() {
        let bytes = hello.sealed(key: key).bytes
        #expect(hello.opened(bytes, key: key) != nil)
        for place in bytes.indices {
            var wrong = bytes
            wrong[place] ^= 0x10
            #expect(hello.opened(wrong, key: key) == nil, "byte \(place)")
        }
        #expect(hello.opened(bytes, key: [UInt8](repeating: 8, count: 32)) == nil)
        #expect(hello.opened(Array(bytes.dropLast()), key: key) == nil)
    }

    @Test func ofAnotherRunOrToSomebodyElse() {
        var others = Array(repeating: hello, count: 4)
        others[0].run += 1
        others[1].epoch += 1
        others[2].from += 1
        (others[3].from, others[3].to) = (hello.to, hello.from)
        for other in others {
            #expect(!hello.isProved(byPlain: other.plain(token: "secret"), token: "secret"))
            #expect(hello.opened(other.sealed(key: key).bytes, key: key) == nil)
        }
    }
}
