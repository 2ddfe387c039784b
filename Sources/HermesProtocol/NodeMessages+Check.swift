import HermesModel

// What the numbers at a node's endpoint may be (docs/protocol.md, sections 5 and 12).

extension Hello: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension Welcome: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(clockNanoseconds, in: Bound.clock, "clockNanoseconds")
        try require(cores, in: 0...(1 << 20), "cores")
        try require(memory, in: Bound.size, "memory")
    }
}

extension Pong: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(clockNanoseconds, in: Bound.clock, "clockNanoseconds")
        try require(monotonicNanoseconds, in: Bound.nanoseconds, "monotonicNanoseconds")
    }
}

extension OpenRun: MessageBody {
    public func check() throws(UnsoundMessage) {
        for (name, field) in [(simulation, "simulation"), (host, "host")] {
            try require(
                Self.isName(name), "'\(field)' is no name of 1 to 64 letters, digits, underscores and hyphens")
        }
        try require(participants, in: Bound.participants, "participants")
        try require(index, in: 1...(participants - 1), "index")
        try require(livenessSeconds, in: 0.1...3600, "livenessSeconds")
        try security.check()
    }

    private static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
                    || $0 == UInt8(ascii: "-")
            }
    }
}

extension LinkSecurity {
    func check() throws(UnsoundMessage) {
        try require(
            (16...64).contains(token.utf8.count) && token.utf8.allSatisfy { (0x21...0x7E).contains($0) },
            "'security.token' is not 16 to 64 bytes of printable ASCII")
    }
}

extension OpenedRun: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(port, in: Bound.port, "port")
        try require(streams?.port, in: Bound.port, "streams.port")
        try require(port != nil || path != nil, "neither 'port' nor 'path' says where the run is met")
    }
}

extension Refused: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension EndRun: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension SaidLine: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension GoneRun: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension CheckupFindings: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

// MARK: Files

extension AskHashes: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(paths.count, in: 0...Self.mostPaths, "paths, in number,")
    }
}

extension FoundFiles: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(entries.count, in: 0...AskHashes.mostPaths, "entries, in number,")
    }
}

extension PutPiece: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(total, in: 0...Self.longestFile, "total")
        try require(bytes.count, in: 0...Self.longest, "bytes, in number,")
        try require(offset, in: 0...total, "offset")
        try require(bytes.count, in: 0...(total - offset), "bytes, in number,")
        try require(!bytes.isEmpty || total == 0, "'bytes' is empty")
    }
}

extension TookPiece: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(received, in: 0...PutPiece.longestFile, "received")
    }
}

extension MakeFolder: MessageBody {
    public func check() throws(UnsoundMessage) {}
}
