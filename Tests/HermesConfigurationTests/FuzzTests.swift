import Glibc
import HermesModel
import Testing

@testable import HermesConfiguration

/// Mutated configurations: whatever the bytes, the reader returns within bounds, and says why when it refuses.
@Suite struct FuzzTests {
    @Test(.timeLimit(.minutes(1)), arguments: [0x5EED_0001, 0x5EED_0002] as [UInt64])
    func survivesMutations(seed: UInt64) throws {
        var random = Xorshift(state: seed)
        let corpus = try Corpus.names(in: "Valid").map { try Corpus.bytes("Valid/\($0).yaml") }
        let desk = Corpus.path("Desk")
        let clock = ContinuousClock()
        let start = clock.now
        var rounds = 0
        var refused = 0
        // A fixed number of rounds would be deterministic to the end; on a slow machine fewer of the same rounds are run.
        while rounds < 4_000, clock.now - start < .seconds(3) {
            rounds += 1
            var text = corpus[Int(random.next() % UInt64(corpus.count))]
            for _ in 0...(random.next() % 4) { mutate(&text, &random, corpus) }
            let before = clock.now
            do {
                let (simulation, warnings) = try ConfigurationReader.parse(
                    text: text, file: "fuzz", baseDirectory: desk)
                #expect(warnings.allSatisfy { $0.severity == .warning })
                expectSound(simulation)
            } catch let error as ConfigurationError {
                refused += 1
                #expect(error.diagnostics.contains { $0.severity == .error })
                let lines = text.count { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") } + 2
                for diagnostic in error.diagnostics {
                    #expect((1...lines).contains(diagnostic.location.line) && diagnostic.location.column >= 1)
                    #expect(!diagnostic.message.isEmpty && !diagnostic.message.contains("\n"))
                }
            }
            #expect(clock.now - before < .seconds(2))
        }
        #expect(rounds >= 100 && refused > rounds / 4 && refused < rounds)
    }

    /// What the rest of Hermes relies on without looking again.
    private func expectSound(_ simulation: Simulation) {
        let names = simulation.modules.map(\.name)
        #expect(!names.isEmpty && Set(names).count == names.count)
        #expect(names.allSatisfy { !$0.isEmpty && !$0.utf8.contains(UInt8(ascii: ".")) })
        #expect(NameCheck.isIdentifier(simulation.name))
        #expect(simulation.execution.schedule.joined().sorted() == names.sorted())
        #expect(simulation.execution.rateHz.isFinite && simulation.execution.rateHz > 0)
        for wire in simulation.wires {
            #expect(names.contains(wire.source.module) && names.contains(wire.destination.module))
            #expect(wire.gain.isFinite && wire.offset.isFinite && wire.source != wire.destination)
        }
        for module in simulation.modules {
            #expect(!module.program.isEmpty && (module.host != nil || module.program.hasPrefix("/")))
            if let rate = module.rateHz {
                #expect(StepInterval.frames(rateHz: rate, baseRateHz: simulation.execution.rateHz) != nil)
            }
        }
    }

    private func mutate(_ text: inout [UInt8], _ random: inout Xorshift, _ corpus: [[UInt8]]) {
        guard !text.isEmpty else {
            text = [UInt8(ascii: "a")]
            return
        }
        let place = Int(random.next() % UInt64(text.count))
        let length = min(Int(random.next() % 24), text.count - place)
        switch random.next() % 8 {
        case 0: text[place] = UInt8(truncatingIfNeeded: random.next())
        case 1: text[place] ^= 1 << UInt8(random.next() % 8)
        case 2: text.removeSubrange(place..<place + length)
        case 3: text.insert(contentsOf: text[place..<place + length], at: Int(random.next() % UInt64(text.count)))
        case 4: text.removeSubrange(place...)
        case 5:
            let other = corpus[Int(random.next() % UInt64(corpus.count))]
            let start = Int(random.next() % UInt64(other.count))
            text.insert(contentsOf: other[start..<min(start + 40, other.count)], at: place)
        case 6:
            let run = Self.tokens[Int(random.next() % UInt64(Self.tokens.count))]
            text.insert(contentsOf: (0...(random.next() % 200)).flatMap { _ in Array(run.utf8) }, at: place)
        default:
            text.insert(contentsOf: Array(Self.tokens[Int(random.next() % UInt64(Self.tokens.count))].utf8), at: place)
        }
    }

    private static let tokens = [
        "[", "{", "- ", "? ", ": ", "&a ", "*a ", "<<: *engine\n", "!!str ", "\"", "'", "|\n", "#", "---\n", "...\n",
        "%YAML 1.2\n", "\t",
        "1e400", ".nan", "-", "*", "~", "\r", "\u{85}", "\u{FEFF}", "\\0", "\0", "é", "  ", "\n",
    ]

    private struct Xorshift {
        var state: UInt64

        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }
}
