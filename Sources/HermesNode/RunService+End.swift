import CKeeper
import HermesProtocol
import HermesSystem
import HermesTransport

// How a run ends here, and what the coordinator hears of it.

extension RunService {
    /// Seconds in which the coordinator must have asked the other hosts for what they completed.
    private static let dismissalSeconds = 1.0
    /// Seconds by which one host may hear of the end later than another.
    private static let laterSeconds = 0.2

    func describe(_ fault: LinkFault) -> any Error {
        if isPrepared, let node {
            // The alarm may be for a module.
            do { try node.atEdge() } catch { return error }
        }
        return RunFailure(.refused, host: order.open.host, cause: fault == .alarm ? "was told to end" : "\(fault)")
    }

    func lost(_ peer: Int) -> RunFailure {
        let name = hostNames.indices.contains(peer) ? hostNames[peer] : "desk"
        var failure = RunFailure(
            .lost, host: order.open.host, frame: lastFrame,
            cause: peer == 0 ? "lost the coordinator" : "lost its link to host \(name)")
        failure.peer = peer == 0 ? nil : name
        return failure
    }

    /// Under way or completed last, once there are frames.
    private var lastFrame: UInt64? { frameUnderWay ?? (stage == .staged ? node?.completedFrame : nil) }

    func report(_ failure: RunFailure) {
        var failure = failure
        if failure.code == .refused || failure.code == .lost {
            if let cause = endCause.withLock({ $0 }) {
                failure = RunFailure(.lost, host: order.open.host, frame: failure.frame ?? lastFrame, cause: cause)
            }
        }
        // What is missing after a loss looks like a peer's mistake.
        if [.refused, .lost, .protocolError].contains(failure.code), endCause.withLock({ $0 }) == nil,
            let peer = lostPeer.withLock({ $0 })
        {
            failure = lost(peer)
        }
        failure.host = failure.host ?? order.open.host
        tellTimes()
        if let message = try? ControlMessage("failed", failure) {
            try? link.send(message, to: Self.coordinator, urgent: true)
        }
        channel.say("ending", Refused(failure.description))
        // Whoever waits for values of this host finds those it sent, and hears that there will be no more.
        streams?.finish()
        end()
        // A link that ends has other hosts give up where they are. Those that are behind still have what they need for the
        // frames that this one completed, so the links stay until the coordinator has heard of all that.
        _ = dismissal(within: Self.dismissalSeconds)
    }

    /// Between frames the loss of another host may be the end of the run, of which that host heard first.
    func wasDismissed(after fault: LinkFault) -> Bool {
        guard fault == .alarm, let peer = lostPeer.withLock({ $0 }), peer != Self.coordinator,
            let message = dismissal(within: Self.laterSeconds)
        else { return false }
        _ = try? handle(message)
        return true
    }

    /// The coordinator's word that ends the run; nil when it does not come.
    private func dismissal(within seconds: Double) -> ControlMessage? {
        let limit = deadline(after: seconds)
        while monotonicNow() < limit, !isToldToEnd.load(ordering: .relaxed),
            lostPeer.withLock({ $0 }) != Self.coordinator
        {
            guard let word = try? link.nextWord(until: monotonicNow() + 10_000_000, heedsAlarm: false) else { continue }
            guard word.peer == Self.coordinator, word.header.kind == .control else { continue }
            if let message = ControlMessage(word.payload), message.say == "terminate" { return message }
        }
        return nil
    }

    /// Where the time of the frames went, once there were any, and the timeline, where one is wanted.
    func tellTimes() {
        for times in node?.hostTimes ?? [] where !times.frame.counts.isEmpty {
            if let message = try? ControlMessage("times", times) { try? link.send(message, to: Self.coordinator) }
        }
        for traced in node?.hostTraces ?? [] {
            if let message = try? ControlMessage("trace", traced.trace) {
                try? link.send(message, to: Self.coordinator)
            }
        }
    }

    /// Terminates the modules and removes what this host has of the run; only once.
    func end(hurried: Bool = true, tellsTimes: Bool = false) {
        if hasEnded { return }
        hasEnded = true
        guard let node else {
            var processKeeper = processKeeper
            keeper_finish(&processKeeper)
            folder.remove()
            return
        }
        shared.withLock { $0 = nil }
        node.terminate(hurried: hurried)
        for failure in node.unsafeModules {
            channel.say("ending", Refused(failure.description))
            if let message = try? ControlMessage("unsafe", failure) { try? link.send(message, to: Self.coordinator) }
        }
        if tellsTimes { tellTimes() }
        node.remove()
        self.node = nil
    }
}
