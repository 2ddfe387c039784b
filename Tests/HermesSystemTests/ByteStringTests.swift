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
