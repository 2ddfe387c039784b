import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesTransport
import Synchronization

// What nodes say unasked, and the loss of hosts: on other threads.
extension Fleet {
    func lose(_ host: Int, _ what: String, isNode: Bool) {
        if isNode { silentHosts.withLock { _ = $0.insert(host) } }
        goneHosts.withLock { _ = $0.insert(host) }
        if isEnding.load(ordering: .relaxed) { return }
        let failure = RunFailure(
            .lost, host: directory.name(host),
            cause: "\(what): the host or its node is down, or the network between")
        loss.withLock { $0 = $0 ?? failure }
        if isNode { isDetailed.store(true, ordering: .relaxed) }
        alarm.raise()
        desk.raiseAttention()
    }

    func hear(_ message: ControlMessage, from host: Int) {
        switch message.say {
        case "line":
            guard let line: SaidLine = take(message, from: host), line.run == run else { return }
            heardLines.add(1, ordering: .relaxed)
            if let module = line.module {
                settings.moduleLine(directory.name(host), module, line.text)
            } else {
                // A host speaks as itself: "error: ..." of its own would look like ours.
                let name = directory.name(host)
                let namesIt = line.text.hasPrefix("host \(name)") || line.text.hasPrefix("waiting for host \(name)")
                settings.warning(namesIt ? line.text : "host \(name): \(line.text)")
            }
        case "gone":
            guard let gone: GoneRun = take(message, from: host), gone.run == run else { return }
            silentHosts.withLock { _ = $0.insert(host) }
            goneHosts.withLock { _ = $0.insert(host) }
            guard !isEnding.load(ordering: .relaxed), let cause = gone.cause else { return }
            loss.withLock { loss in
                if loss == nil || loss?.host == directory.name(host) {
                    loss = RunFailure(.lost, host: directory.name(host), cause: cause)
                    isDetailed.store(true, ordering: .relaxed)
                }
            }
            alarm.raise()
            desk.raiseAttention()
        case "stuck":
            guard let failure: RunFailure = take(message, from: host) else { return }
            loss.withLock { $0 = $0 ?? failure }
            alarm.raise()
            desk.raiseAttention()
        default: return
        }
    }
}

/// CLOCK_REALTIME, nanoseconds.
enum ThisMachineClock {
    static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
