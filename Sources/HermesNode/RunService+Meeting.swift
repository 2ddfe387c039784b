import HermesProtocol
import HermesSystem
import HermesTransport

// This host's links and mirror streams to the coordinator and to other hosts.

extension RunService {
    func setUp(_ setUp: SetUp) throws {
        let limit = deadline(after: Self.setUpSeconds)
        hostNames = Array(repeating: "desk", count: order.open.participants)
        for peer in setUp.peers where hostNames.indices.contains(peer.index) { hostNames[peer.index] = peer.host }
        for peer in setUp.peers {
            if let endpoint = peer.endpoint, hostNames.indices.contains(peer.index) {
                try link.dial(peer: peer.index, at: endpoint)
            }
        }
        let dialled = setUp.peers.filter { $0.endpoint != nil }.map(\.index)
        let missing = try link.prove(
            setUp.peers.map(\.index).filter(hostNames.indices.contains), dialled: dialled, until: deadline(after: 5))
        guard missing.isEmpty else {
            let pairs = setUp.peers.filter { missing.contains($0.index) }.map { peer in
                peer.endpoint.map { "does not reach host \(peer.host) at \($0)" }
                    ?? "is not reached by host \(peer.host)"
            }
            throw RunFailure(
                .lost, host: order.open.host,
                cause: pairs.joined(separator: " and ") + "; check addresses, `mirror:` and firewalls")
        }
        try meetStreams(setUp.streams, until: limit)
    }

    private func meetStreams(_ wanted: [SetUp.Stream]?, until limit: UInt64) throws {
        guard let wanted else { return entrance.door.close() }
        let open = order.open
        guard wanted.allSatisfy({ hostNames.indices.contains($0.index) && $0.index != open.index && $0.isSound }) else {
            throw RunFailure(.protocolError, cause: "was told of mirror streams that can't be")
        }
        let streams = MirrorStreams(run: open.run, index: open.index, participants: open.participants, alarm: alarm)
        self.streams = streams
        let meeting = StreamMeeting(
            run: open.run, index: open.index, token: open.security.token, alarm: alarm,
            refused: entrance.tellRefused)
        let missing = try meeting.meet(wanted, through: entrance.door, into: streams, until: limit)
        guard missing.isEmpty else {
            let pairs = wanted.filter { missing.contains($0.index) }.map { peer in
                let host = hostNames[peer.index] == "desk" ? "the desk" : "host \(hostNames[peer.index])"
                return peer.endpoint.map { "does not reach \(host) for mirrors at \($0)" }
                    ?? "is not reached by \(host) for mirrors"
            }
            throw RunFailure(
                .lost, host: open.host,
                cause: pairs.joined(separator: " and ")
                    + "; let firewalls pass the whole range of hermes-node's --ports, or use --mirrors zeromq")
        }
    }
}
