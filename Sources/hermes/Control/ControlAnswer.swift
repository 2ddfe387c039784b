import FoundationEssentials
import HermesProtocol

/// What a client is told. The threads that run the frames and the run's end hand it over as it is; it is put into words
/// elsewhere.
enum ControlAnswer: Sendable {
    /// In words already, with its end.
    case line([UInt8])
    case reply(ControlReply)
    /// The values of a frame.
    case values(ValueOrder, frame: UInt64)

    static func refused(_ reason: String) -> ControlAnswer { .reply(ControlReply(error: reason)) }

    /// It takes a while to put into words.
    var isLong: Bool { if case .values(let order, _) = self { order.signals.count > 256 } else { false } }

    /// In words, with its end.
    var line: [UInt8] {
        switch self {
        case .line(let line): return line
        case .reply(let reply): return Self.encoded(reply)
        case .values(let order, let frame): return Self.encoded(order, frame: frame)
        }
    }

    private static func encoded(_ reply: ControlReply) -> [UInt8] {
        let text = try? JSONEncoder().encode(reply)
        return (text.map { Array($0) } ?? Array(#"{"error":"there are no words for the answer"}"#.utf8)) + [newline]
    }

    /// Numbers need no encoder, which would take many times as long.
    private static func encoded(_ order: ValueOrder, frame: UInt64) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(64 + 20 * order.bits.count)
        line += #"{"frame":\#(frame),"bits":["#.utf8
        for (index, bits) in order.bits.enumerated() {
            if index > 0 { line.append(UInt8(ascii: ",")) }
            line += bits.description.utf8
        }
        line += "]}".utf8
        line.append(newline)
        return line
    }

    private static let newline = UInt8(ascii: "\n")
}
