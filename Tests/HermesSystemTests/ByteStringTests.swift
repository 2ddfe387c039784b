import HermesSystem
import Testing

@Suite struct ByteStringTests {
    /// "/" and a combining accent: one character for people, two of them for the kernel.
    let accented = ByteString("out/\u{301}x")

    @Test func pathsAreSplitAsTheKernelDoes() {
        #expect(accented.pathComponents == ["out", "\u{301}x"])
        #expect(accented.lastPathComponent == "\u{301}x")
        #expect(accented.parentPath == "out")
        #expect(ByteString("x").parentPath == ".")
        #expect(ByteString("/x").parentPath == "/")
        #expect(ByteString("a//b/").pathComponents == ["a", "b"])
    }

    @Test func normalFormsAreDifferentNames() {
        #expect(ByteString("\u{e9}") != ByteString("e\u{301}"))
        #expect("\u{e9}" == "e\u{301}")
        #expect(!accented.hasSuffix("x\u{301}"))
        #expect(accented.hasPrefix("out/"))
    }

    @Test func whatIsNoTextIsShownAndKept() {
        let latin = ByteString(bytes: [0x63, 0x61, 0x66, 0xE9, 0x2E, 0x79])
        #expect(latin.text == nil)
        #expect("\(latin)" == "caf\\xe9.y")
        #expect(latin.withCString { ByteString(cString: $0) } == latin)
        #expect("\(ByteString("a\u{1b}[2J\nb\u{85}é"))" == "a\\x1b[2J\\x0ab\\xc2\\x85é")
        #expect("\(ByteString(bytes: [0xF0, 0x9F]))" == "\\xf0\\x9f")
    }

    /// Every string of bytes has a text of its own, and UTF-8 is its own text.
    @Test func textStandsForBytesAndBack() throws {
        var random = SystemRandomNumberGenerator()
        let interesting: [UInt8] = [
            0x2F, 0x3D, 0x41, 0x80, 0x8F, 0x9E, 0x9F, 0xA9, 0xC3, 0xCC, 0xE9, 0xED, 0xF4, 0xF8, 0xFF,
        ]
        var seen: [ByteString: ByteString] = [:]
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...8, using: &random)
            let string = ByteString(bytes: (0..<count).map { _ in interesting.randomElement(using: &random)! })
            #expect(ByteString(encodedText: string.encodedText) == string)
            #expect(ByteString(encodedText: string.argumentText) == string)
            #expect(
                seen.updateValue(string, forKey: string.encodedText.bytes) ?? string == string, "no two have one text")
            if let text = string.text, !text.unicodeScalars.contains(where: { $0.value >= 0x10F780 }) {
                #expect(string.encodedText.isSame(as: text))
            }
        }
        let privateUse: ByteString = "\u{10F7E9}"
        #expect(ByteString(encodedText: privateUse.encodedText) == privateUse)
        #expect(privateUse.encodedText.unicodeScalars.count == 4, "it stands for itself, not for the byte E9")
    }

    @Test func argumentsKeepTheirSign() {
        #expect(ByteString("--record=\u{301}x").argumentText.contains("="), "for a parser of characters")
        #expect(!"--record=\u{301}x".contains("="))
        #expect(ByteString.shownLines(ofEncoded: "a\u{10F7E9}\nb") == "a\\xe9\nb")
    }

    @Test func bytesTellNamesApart() {
        #expect(!"\u{E9}".isSame(as: "e\u{301}") && "\u{E9}".isSame(as: "\u{E9}"))
        #expect(Set(["\u{E9}".bytes, "e\u{301}".bytes]).count == 2)
        #expect(("a=\u{301}b=c" as ByteString).divided(at: UInt8(ascii: "="))?.behind == "\u{301}b=c")
        #expect(ByteString("ab").divided(at: 0x2F) == nil)
        #expect(ByteString(":/a/\u{301}::b").split(at: UInt8(ascii: ":")) == ["/a/\u{301}", "b"])
    }

    @Test func oneTextForOnePlace() {
        for path: ByteString in ["./a", "a/", "a", ".//a/."] { #expect(path.tidiedPath == "a") }
        #expect(ByteString("./a//b/./c.txt").tidiedPath == "a/b/c.txt")
        #expect(ByteString(".").tidiedPath == "" && ByteString("..a").tidiedPath == "..a")
        #expect(ByteString("//a/./b/").tidiedPath == "/a/b" && ByteString("/").tidiedPath == "/")
        #expect(ByteString("a/./\u{301}b").tidiedPath == "a/\u{301}b")
        #expect(ByteString("a/.\u{301}/b").tidiedPath == "a/.\u{301}/b", "a dot with an accent is a name")
    }

    @Test func interpolationPutsBytesIn() {
        let latin = ByteString(bytes: [0xE9])
        #expect(("/\(latin)/\(7)/\("x")" as ByteString).bytes == [0x2F, 0xE9, 0x2F, 0x37, 0x2F, 0x78])
    }

    @Test func pathsAreJoined() {
        #expect(ByteString("/a").appendingPath("b") == "/a/b")
        #expect(ByteString("/").appendingPath("b") == "/b")
        #expect(ByteString("a").appendingPath("/b") == "/b")
    }
}

@Suite struct FolderTests {
    @Test func entriesOfWhatIsNoFolder() {
        #expect(throws: SystemError.self) { try Folder.entries(of: "/dev/null") }
        #expect(throws: SystemError.self) { try Folder.entries(of: "/nowhere/at/all") }
    }

    @Test func aLimitIsNamedWithItsCure() {
        #expect("\(SystemError("can't open x", code: 24))".contains("ulimit -n"))
    }
}
