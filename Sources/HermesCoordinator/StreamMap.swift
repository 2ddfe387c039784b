import HermesProtocol
import HermesTransport

/// The mirror streams of a run: one for each pair of hosts that mirror signals. The desk dials every host; of two named
/// hosts the later one dials the earlier.
struct StreamMap {
    /// For each host, by index; the desk has index 0.
    private(set) var streams: [[SetUp.Stream]]

    /// - Parameters:
    ///   - opened: what each named host has answered, all of them with a place for streams.
    ///   - isSealed: every direction of every stream gets a key of its own.
    ///   - isTCPOnly: hosts on one machine do not take a socket file instead.
    init(_ directory: HostDirectory, _ opened: [OpenedRun], isSealed: Bool, isTCPOnly: Bool) {
        streams = Array(repeating: [], count: directory.count)
        let here = MachineIdentity.own
        for pair in directory.pairs {
            let (dialled, dialler) = pair.first == 0 ? (pair.second, 0) : (pair.first, pair.second)
            let host = directory.hosts[dialled - 1], place = opened[dialled - 1].streams!
            let otherMachine = dialler == 0 ? here : opened[dialler - 1].streams!.machine
            // Where the configuration says how peers reach it, they take that way. The desk is no peer.
            let hasOwnRoad = host.mirror != nil && dialler != 0
            let isShared = place.machine == otherMachine && !place.machine.isEmpty && !hasOwnRoad && !isTCPOnly
            let keys = isSealed ? (StreamKey.generate(), StreamKey.generate()) : nil
            let address = dialler == 0 ? host.endpoint : host.mirror ?? host.endpoint
            let endpoint = place.port.map { HostDirectory.endpoint(address, port: $0, path: nil).description }
            streams[dialler].append(
                SetUp.Stream(
                    index: dialled, endpoint: endpoint, path: isShared || endpoint == nil ? place.path : nil,
                    sendKey: keys?.0, receiveKey: keys?.1))
            streams[dialled].append(
                SetUp.Stream(index: dialler, endpoint: nil, path: nil, sendKey: keys?.1, receiveKey: keys?.0))
        }
    }
}
