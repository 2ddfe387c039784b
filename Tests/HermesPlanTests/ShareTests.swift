import HermesModel
import HermesPlan
import Testing

/// Placement changes nothing: random simulations on one to five hosts against the same on one.
@Suite struct ShareTests {
    static let seeds: ClosedRange<UInt64> = 1...600

    @Test(arguments: seeds) func anyPlacementGivesTheSameBits(seed: UInt64) throws {
        let random = RandomSketch(seed: seed)
        var one = OneHost(random)
        let expected = one.run()
        let shares = try random.sketch.plan().plan.shares()
        for interleaving in 0..<3 {
            var many = ManyHosts(random, shares)
            var order = SplitMix(state: seed &* 1_000_003 &+ UInt64(interleaving))
            try many.run(&order)
            try #require(many.areDone, "seed \(seed): everybody waits")
            #expect(many.isNothingUnderWay, "seed \(seed): a message that nobody takes")
            let rows = many.rows(signalCount: random.signals.count)
            for (epoch, frames) in expected.enumerated() {
                for (frame, row) in frames.enumerated() where row != rows[epoch][frame] {
                    let names = row.indices.filter { row[$0] != rows[epoch][frame][$0] }.map { random.signals[$0].name }
                    Issue.record("seed \(seed), epoch \(epoch), frame \(frame): \(names.joined(separator: ", "))")
                    return
                }
            }
        }
    }

    /// A host that stands still holds up those that its wires lead to, and those behind them. Nobody else: they run to the
    /// end, and a host that only feeds others does too.
    @Test(arguments: seeds) func onlyWhoReadsAHostWaitsForIt(seed: UInt64) throws {
        let random = RandomSketch(seed: seed)
        let shares = try random.sketch.plan().plan.shares()
        let hostOf = random.hostIndices()
        let links = Set(
            random.wires.map {
                [hostOf[random.signals[$0.source].module], hostOf[random.signals[$0.destination].module]]
            })
        for share in shares {
            for part in share.receives.joined() {
                #expect(links.contains([part.peer, share.host]), "seed \(seed): \(share.host) waits for \(part.peer)")
            }
        }
        for stalled in shares.indices {
            var behind: Set<Int> = [stalled], size = 0
            while size != behind.count {
                size = behind.count
                for link in links where behind.contains(link[0]) { behind.insert(link[1]) }
            }
            var many = ManyHosts(random, shares)
            var order = SplitMix(state: seed &+ UInt64(stalled))
            try many.run(&order, stalled: stalled)
            let done = Set(many.hosts.indices.filter { many.hosts[$0].isDone })
            #expect(
                done.isSuperset(of: Set(shares.indices).subtracting(behind)),
                "seed \(seed): host \(stalled) stalled, and held up somebody it has nothing to tell")
            // Nor does anybody go on without what it reads.
            #expect(
                done.allSatisfy { $0 != stalled && !links.contains([stalled, $0]) }, "seed \(seed): \(stalled) stalled")
        }
    }

    @Test(arguments: seeds) func atMostOneMessageForAPairAndPhase(seed: UInt64) throws {
        let random = RandomSketch(seed: seed)
        let plan = try random.sketch.plan().plan
        let shares = plan.shares()
        struct Route: Hashable { var from, to: Int }
        var sent: [Route: [HostShare.Part]] = [:], received: [Route: [HostShare.Part]] = [:]
        for share in shares {
            #expect(share.sends.count == plan.phases.count + 1 && share.receives.count == plan.phases.count + 1)
            for (phase, parts) in share.sends.enumerated() {
                #expect(Set(parts.map(\.peer)).count == parts.count, "seed \(seed): two messages after phase \(phase)")
                #expect(parts.allSatisfy { $0.phase == phase && $0.count > 0 && $0.peer != share.host })
                for part in parts { sent[Route(from: share.host, to: part.peer), default: []].append(part) }
            }
            for (due, parts) in share.receives.enumerated() {
                #expect(parts.allSatisfy { $0.phase <= due }, "seed \(seed): waits for what comes later")
                for part in parts { received[Route(from: part.peer, to: share.host), default: []].append(part) }
            }
        }
        #expect(Set(sent.keys) == Set(received.keys))
        let hostOf = random.hostIndices()
        for (route, parts) in sent {
            // In the order they are taken.
            #expect(parts.map(\.phase) == received[route]?.map(\.phase), "seed \(seed): \(route)")
            #expect(parts.map(\.count) == received[route]?.map(\.count), "seed \(seed): \(route)")
            // A value travels once, however many wires read it.
            let sources = Set(
                random.wires.filter {
                    hostOf[random.signals[$0.source].module] == route.from
                        && hostOf[random.signals[$0.destination].module] == route.to
                }.map(\.source))
            #expect(parts.last?.count == sources.count && parts.dropLast().map(\.count).reduce(0, +) == sources.count)
        }
    }

    /// What nobody reads before the frame's end costs no message of its own, and nobody waits for it earlier.
    @Test func whatIsNotUrgentRidesInALaterMessage() throws {
        var sketch = Sketch()
        sketch.hosts = ["far"]
        sketch.module("early", .init(name: "x"))
        sketch.module("late", .init(name: "x"))
        sketch.module("reader", host: "far", .init(name: "a"), .init(name: "b"))
        sketch.schedule = [["reader"], ["early"], ["late"]]
        sketch.wire("early.x", "reader.a")
        sketch.wire("late.x", "reader.b")
        let shares = try sketch.plan().plan.shares()
        #expect(shares[0].sends.map(\.count) == [0, 0, 1, 1] && shares[0].sends[2][0].count == 2)
        #expect(shares[1].receives.map(\.count) == [0, 0, 1, 1])
        #expect(shares[1].sends.allSatisfy(\.isEmpty) && shares[0].receives.allSatisfy(\.isEmpty))
    }

    @Test func aValueIsWaitedForJustBeforeItIsRead() throws {
        var sketch = Sketch()
        sketch.hosts = ["far"]
        sketch.module("source", .init(name: "x"))
        sketch.module("between", host: "far", .init(name: "x"))
        sketch.module("reader", host: "far", .init(name: "x"))
        sketch.schedule = [["source"], ["between"], ["reader"]]
        sketch.wire("source.x", "reader.x")
        let shares = try sketch.plan().plan.shares()
        #expect(shares[0].sends.map(\.count) == [1, 0, 0, 1])
        #expect(shares[1].receives.map(\.count) == [0, 1, 0, 1])
    }
}
