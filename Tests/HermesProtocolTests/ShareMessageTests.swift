import HermesModel
import HermesPlan
import HermesProtocol
import Testing

/// A share arrives as it was sent: text in between must not change a bit.
@Suite struct ShareMessageTests {
    private static let awkward: [Double] = [
        0, -0.0, 1, -1, 0.1, 1.0 / 3, 1e22, 1e23, .leastNonzeroMagnitude, -2.2250738585072014e-308,
        1.7976931348623157e308,
        9_007_199_254_740_994, 123_456_789_012_345_680, 1e-7, 0.000_123_456_789,
    ]

    private static func share() throws -> HostShare {
        var registry = SignalRegistry()
        for (index, type) in SignalType.allCases.enumerated() {
            registry.register(
                Signal(
                    name: SignalName("m.s \"\(index)\".ä\u{1}")!, module: 0, type: type, isWritable: index % 2 == 0,
                    isPublished: index % 3 == 0, isWired: index % 2 == 1,
                    direction: [.unspecified, .input, .output, .both, .input][index], unit: index == 0 ? nil : "m/s",
                    summary: index == 1 ? "" : nil))
        }
        var module = PlannedModule(
            name: "m", isInproc: false, isFree: false, phase: 1, divisor: 3, dt: 3 / 0.7, firstSignal: 0, signalCount: 5
        )
        module.host = 1
        var delivery = Delivery()
        delivery.isStaged = true
        delivery.runs = [Delivery.Run(source: 0, destination: 3, count: 2)]
        delivery.copies = [Delivery.Copy(source: 1, destination: 6)]
        delivery.conversions = awkward.flatMap { factor in
            [(factor, -0.0), (1, factor)].map { gain, offset in
                Delivery.Conversion(
                    source: 2, destination: 5, sourceType: .i64, destinationType: .bool, gain: gain, offset: offset)
            }
        }
        var plan = Plan(
            simulationName: "share", rateHz: 0.7, modules: [module], phases: [[], [0]], registry: registry,
            deliveries: [Delivery(), delivery, delivery])
        plan.hosts = [nil, "far"]
        var share = HostShare(host: 1, plan: plan, slots: Array(0..<5))
        share.inboxCount = 2
        share.outboxCount = 1
        share.gathers = [delivery, Delivery(), delivery]
        share.sends = [[HostShare.Part(peer: 0, phase: 0, offset: 0, count: 1)], [], []]
        share.receives = [[], [HostShare.Part(peer: 0, phase: 0, offset: 1, count: 1)], []]
        return share
    }

    @Test func aShareArrivesAsItWasSent() throws {
        let share = try Self.share()
        let sent = try ControlMessage("prepare", id: 7, ShareMessage(share, collected: [4, 0], longestStepSeconds: 5))
        let arrived = try #require(sent.encoded.withUnsafeBytes { ControlMessage($0) }?.body(ShareMessage.self))
        #expect(arrived.collected == [4, 0])
        let taken = try arrived.share(of: 1, among: 2)
        #expect(taken.plan.registry.signals == share.plan.registry.signals)
        #expect(taken.plan.modules == share.plan.modules && taken.plan.phases == share.plan.phases)
        #expect(taken.plan.rateHz == share.plan.rateHz && taken.plan.hosts == share.plan.hosts)
        #expect(taken.plan.deliveries == share.plan.deliveries && taken.gathers == share.gathers)
        #expect(taken.sends == share.sends && taken.receives == share.receives)
        #expect(taken.inboxCount == 2 && taken.outboxCount == 1 && taken.host == 1)
        // Equal numbers need not be equal bits.
        func factors(_ plan: Plan) -> [UInt64] {
            plan.deliveries.flatMap(\.conversions).flatMap { [$0.gain.bitPattern, $0.offset.bitPattern] }
        }
        #expect(factors(taken.plan) == factors(share.plan))
    }

    @Test func startValuesKeepEveryBit() throws {
        let bits: [UInt64] =
            Self.awkward.map(\.bitPattern) + [.max, 1 << 63, (1 << 63) + 1, 1 << 53 + 1, Double.nan.bitPattern]
        let sent = try ControlMessage("stage", StartValues(slots: Array(bits.indices), bits: bits))
        let arrived = try #require(sent.encoded.withUnsafeBytes { ControlMessage($0) }?.body(StartValues.self))
        #expect(arrived.bits == bits && arrived.slots == Array(bits.indices))
    }
}
