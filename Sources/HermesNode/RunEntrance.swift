import Glibc
import HermesProtocol
import HermesTransport

/// Where a run is met on this host: the link that its coordinator and other hosts dial, and the door for mirror streams.
/// Each takes the first free port of the node's range, or a socket file.
struct RunEntrance {
    let link: RunLink
    let door = StreamDoor()
    /// What the coordinator is told of this entrance.
    let opened: OpenedRun
    /// Tells the coordinator of somebody who was turned away, by address.
    let tellRefused: @Sendable (_ address: String) -> Void

    /// - Throws: `RunFailure` when every port of the range is taken, `TransportError` when an address can't be had.
    init(
        _ order: WorkerOrder, in context: MessageContext, alarm: Alarm, folder: RunFolder, channel: LineChannel
    ) throws {
        let open = order.open, refused = RefusedCallers()
        let tellRefused: @Sendable (String) -> Void = { address in
            guard let times = refused.add(address) else { return }
            let text = "host \(open.host) refused somebody at \(address) on this run's port\(times)"
            channel.say("line", SaidLine(run: open.run, module: nil, text: text))
        }
        self.tellRefused = tellRefused
        let keys = open.security.participants
        let policy: Authenticator.Policy =
            keys.map { keys in .curve { keys.contains($0) } } ?? .plain(password: open.security.token)
        try Authenticator.start(in: context, policy) { address, _ in tellRefused(address) }
        link = try RunLink(
            context, run: open.run, index: open.index, participants: open.participants, security: open.security,
            livenessSeconds: open.livenessSeconds, alarm: alarm)
        var opened = try Self.listen(link, order)
        if open.wantsStreams == true { opened.streams = try Self.listen(door, order, folder) }
        self.opened = opened
    }

    private static func listen(_ link: RunLink, _ order: WorkerOrder) throws -> OpenedRun {
        if let path = order.path {
            // Others of this machine may not connect, whatever they guess.
            let before = umask(0o177)
            defer { umask(before) }
            try link.listen(on: ["ipc://\(path)"])
            return OpenedRun(port: nil, path: path)
        }
        let port = try onFreePort(order) { port in
            try link.listen(on: order.addresses.map { "tcp://\($0):\(port)" })
        }
        return OpenedRun(port: port, path: nil)
    }

    /// Nil where mirrors are to go over the link: at an address that only ZeroMQ takes, the name of an interface, say.
    private static func listen(_ door: StreamDoor, _ order: WorkerOrder, _ folder: RunFolder) throws -> StreamPlace? {
        do {
            if order.path == nil {
                try onFreePort(order) { try door.listen(addresses: order.addresses, port: $0) }
            }
        } catch let error as TransportError where error.code == EADDRNOTAVAIL {
            return nil
        }
        door.listen(path: "\(folder.path)/mirror.sock")
        return StreamPlace(port: door.port, path: door.path, machine: MachineIdentity.own)
    }

    /// The first port of the range that is free at every address.
    @discardableResult
    private static func onFreePort(_ order: WorkerOrder, _ listen: (Int) throws -> Void) throws -> Int {
        // Where ports are many, runs that start side by side do not try the same ones.
        let count = order.lastPort - order.firstPort + 1
        let start = Int(order.open.run % UInt64(max(count, 1)))
        for attempt in 0..<count {
            let port = order.firstPort + (start + attempt) % count
            do {
                try listen(port)
                return port
            } catch let error as TransportError where error.code == EADDRINUSE {
                continue
            }
        }
        throw RunFailure(
            .resource, host: order.open.host,
            cause: "every port from \(order.firstPort) to \(order.lastPort) is taken (a run has two while it is made); "
                + "widen --ports")
    }
}
