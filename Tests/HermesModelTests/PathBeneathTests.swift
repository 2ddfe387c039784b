import HermesModel
import HermesSystem
import Testing

@Suite struct PathBeneathTests {
    @Test(arguments: [
        "a", "./a", "a/b", "a..b", "..a", "a/.../b", ".", "a//b/", "-x", "ä ö", "a/\u{301}b", "..\u{301}",
    ])
    func stays(path: ByteString) { #expect(PathBeneath.fault(in: path) == nil) }

    @Test func leadsOut() {
        #expect(PathBeneath.fault(in: "/a") == "is absolute")
        for path: ByteString in ["..", "../a", "a/..", "a/../b", "./../a", "a/\u{301}/..", "../\u{301}x"] {
            #expect(PathBeneath.fault(in: path) == "has a `..`")
        }
        for path: ByteString in ["a\nb", "a\r\nb", "\u{7F}", "a\0b", "\t\u{301}"] {
            #expect(PathBeneath.fault(in: path) == "has a control character")
        }
        #expect(PathBeneath.fault(in: "") == "is empty")
        #expect(PathBeneath.fault(in: ByteString(String(repeating: "a", count: 256))) == "is too long")
        #expect(PathBeneath.fault(in: ByteString(String(repeating: "a/", count: 2001))) == "is too long")
    }

    /// For the kernel a slash is a slash, whatever accent follows it.
    @Test func anAccentHidesNoSlash() {
        #expect(PathBeneath.fault(in: "/\u{301}a") == "is absolute")
        #expect(PathBeneath.fault(in: ByteString(String(repeating: "ab/\u{301}", count: 400))) == nil, "short parts")
    }
}
