import Testing

@testable import HermesModel

@Suite struct PublicKeyTests {
    /// ZeroMQ's own examples (RFC 26), and three that libsodium made.
    private static let pairs: [(open: String, secret: String)] = [
        ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"),
        ("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"),
    ]

    @Test func publicKeysAreTakenForWhatTheyAre() {
        for pair in Self.pairs {
            #expect(PublicKey.isKey(pair.open) && PublicKey.canBePublic(pair.open))
            #expect(PublicKey.isKey(pair.secret) && !PublicKey.canBePublic(pair.secret))
        }
    }

    @Test func whatIsNoKey() {
        for text in ["", "rq:rM", String(repeating: "~", count: 40), String(repeating: "#", count: 40)] {
            #expect(!PublicKey.isKey(text) && !PublicKey.canBePublic(text))
        }
    }
}
