import HermesModel
import Synchronization
import Testing

@testable import HermesCoordinator

/// The answers a mailbox gave, in words.
private final class Answers: Sendable {
    private let all = Mutex<[String]>([])
    func reply(to name: String) -> CommandMailbox.Reply {
        { [self] result in
            let word =
                switch result {
                case .success(let frame): "\(name) at \(frame)"
                case .failure(let refusal): "\(name): \(refusal)"
                }
            all.withLock { $0.append(word) }
        }
    }
    var list: [String] { all.withLock { $0 } }
}

@Suite struct CommandMailboxTests {
    private let answers = Answers()

    @Test func commandsComeInOrderAndWhatIsPutBackComesAgainFirst() {
        let mailbox = CommandMailbox {}
        mailbox.post(.pause)
        mailbox.post(.step(count: 3))
        let tickets = mailbox.take()
        #expect(tickets.map(\.command) == [.pause, .step(count: 3)])
        #expect(mailbox.take().isEmpty)
        mailbox.expect(tickets[0])
        mailbox.post(.resume)
        mailbox.putBack([tickets[1]])
        let again = mailbox.take()
        #expect(again.map(\.command) == [.step(count: 3), .resume])
        mailbox.expect(again[0], frame: 3)
        #expect(mailbox.take().isEmpty)
    }

    @Test func aStopPassesWhatWaits() {
        let mailbox = CommandMailbox {}
        for _ in 0..<1000 { mailbox.post(.resume) }
        mailbox.post(.stop)
        #expect(mailbox.take().last?.command == .stop)
    }

    /// An edge takes a part of what waits, and attention is called to the rest; all are answered once.
    @Test func anEdgeTakesNoMoreThanItsShare() {
        let calls = Mutex(0), replies = Mutex(0)
        let mailbox = CommandMailbox { calls.withLock { $0 += 1 } }
        let posts = 20_000
        for _ in 0..<posts { mailbox.post(.resume) { _ in replies.withLock { $0 += 1 } } }
        #expect(calls.withLock { $0 } == posts)
        var edges = 0
        while replies.withLock({ $0 }) < posts {
            let tickets = mailbox.take()
            #expect(!tickets.isEmpty && tickets.count <= 64)
            if tickets.isEmpty { break }
            for ticket in tickets { mailbox.expect(ticket) }
            edges += 1
            #expect(mailbox.settle(frame: UInt64(edges)) == .max)
        }
        #expect(calls.withLock { $0 } == posts + edges - 1)
    }

    @Test func everyPostRaisesAttention() {
        let count = Mutex(0)
        let mailbox = CommandMailbox { count.withLock { $0 += 1 } }
        mailbox.post(.pause)
        mailbox.post(.stop)
        mailbox.close("over", frame: 0)
        mailbox.post(.pause)
        #expect(count.withLock { $0 } == 2)
    }

    @Test func eachIsAnsweredOnceAndWhenItHasHappened() {
        let mailbox = CommandMailbox {}
        for (name, command) in [
            ("pause", .pause), ("resume", .resume), ("step", .step(count: 2)), ("far", .step(count: 9)),
            ("reset", .reset),
            ("mode", .setMode(.afap)), ("stop", .stop),
        ] as [(String, RunCommand)] {
            mailbox.post(command, reply: answers.reply(to: name))
        }
        for ticket in mailbox.take() {
            let command = ticket.command
            mailbox.expect(ticket, frame: command == .step(count: 2) ? 2 : command == .step(count: 9) ? 9 : nil)
        }
        #expect(mailbox.settle(frame: 1) == 2)
        #expect(answers.list == ["pause at 1", "resume at 1", "mode at 1"])
        #expect(mailbox.settle(frame: 2) == 9)
        #expect(answers.list.dropFirst(3) == ["step at 2"])
        mailbox.settleReset()
        #expect(answers.list.last == "reset at 0")
        mailbox.refuseSteps(beyond: 2, "why")
        #expect(answers.list.last == "far: frame 9 was not reached: why")
        #expect(mailbox.settle(frame: 50) == .max)
        #expect(answers.list.count == 6, "a stop is answered when everything is gone")
        mailbox.close("over", frame: 50)
        #expect(answers.list.last == "stop at 50" && answers.list.count == 7)
    }

    @Test func theEndAnswersWhoeverWaits() {
        let mailbox = CommandMailbox {}
        for (name, command) in [("done", .step(count: 5)), ("short", .step(count: 7)), ("reset", .reset)]
            as [(String, RunCommand)]
        {
            mailbox.post(command, reply: answers.reply(to: name))
        }
        let tickets = mailbox.take()
        mailbox.expect(tickets[0], frame: 5)
        mailbox.expect(tickets[1], frame: 7)
        mailbox.putBack([tickets[2]])
        mailbox.close("the simulation has ended", frame: 6)
        mailbox.close("twice", frame: 6)
        mailbox.post(.pause, reply: answers.reply(to: "late"))
        #expect(
            answers.list == [
                "done at 6", "short: the simulation has ended",
                "reset: the simulation has ended", "late: twice",
            ])
    }

    @Test func aRefusedCommandIsForgotten() {
        let mailbox = CommandMailbox {}
        mailbox.post(.step(count: 1), reply: answers.reply(to: "step"))
        mailbox.refuse(mailbox.take()[0], "not now")
        #expect(mailbox.settle(frame: 1) == .max)
        mailbox.close("over", frame: 0)
        #expect(answers.list == ["step: not now"])
    }
}
