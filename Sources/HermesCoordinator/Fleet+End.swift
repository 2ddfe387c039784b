import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport
import Synchronization

// How a run on several hosts ends, and what its hosts still have to tell.
extension Fleet {
    public func terminate(hurried: Bool) {
        isEnding.store(true, ordering: .relaxed)
        if hurried { streams?.close() }
        for host in begunHosts.subtracting(openHosts) { dismiss(host) }
        for host in openHosts.sorted() {
            dismiss(host, hurried: hurried)
            // One that waits for its modules does not read its link; its node tells it from beside.
            if hurried { control?.tell(host - 1, "end", EndRun(run: run)) }
        }
        desk.terminate(hurried: hurried)
        let limit = deadline(after: hurried ? 4 : 8)
        while let link {
            openHosts.subtract(goneHosts.withLock { $0 })
            if openHosts.isEmpty || monotonicNow() > limit { break }
            // In slices: a host that is lost meanwhile says nothing here.
            let slice = monotonicNow() + 20_000_000
            guard let (host, header, payload) = try? link.nextWord(until: slice, heedsAlarm: false) else { continue }
            guard header.kind == .control, let message = ControlMessage(payload), !take(note: message, from: host)
            else {
                continue
            }
            if message.id == number && message.say == "ok" || message.say == "failed" { openHosts.remove(host) }
        }
        hearLastWords()
        for host in openHosts { control?.tell(host - 1, "end", EndRun(run: run)) }
        setStates(.done)
        measureClocks()
    }

    public var unsafeModules: [RunFailure] { desk.unsafeModules + unsafe }

    /// That a host is gone may be known before what it said last is read; it does not matter much.
    func hearLastWords() {
        let limit = monotonicNow() + 50_000_000
        func isUntold(_ host: Int) -> Bool {
            let name = directory.name(host)
            return !told.contains { $0.host == name }
                || settings.trace != nil && !traced.contains { $0.host == name }
        }
        while let link, completedFrame > 0, begunHosts.contains(where: isUntold), monotonicNow() < limit {
            guard let word = try? link.nextWord(until: limit, heedsAlarm: false) else { break }
            if let message = ControlMessage(word.payload) { _ = take(note: message, from: word.peer) }
        }
    }

    public func expectStart(at due: UInt64) { desk.expectStart(at: due) }

    /// In the order of `hosts:`, the desk first.
    public var hostTimes: [HostTimes] {
        desk.hostTimes
            + (1..<directory.count).compactMap { index in told.last { $0.host == directory.name(index) } }
    }

    public var hostTraces: [TracedHost] {
        desk.hostTraces
            + (1..<directory.count).compactMap { index in
                traced.last { $0.host == directory.name(index) }.map {
                    TracedHost(trace: $0, clock: clocks[index] ?? ClockLine())
                }
            }
    }

    /// Asks each host's node for its clock a few times, for a timeline; the quickest answer says most.
    func measureClocks() {
        guard settings.trace != nil, let control else { return }
        for host in 1..<directory.count {
            var best: (asked: UInt64, there: UInt64, heard: UInt64)?
            for _ in 0..<Self.clockQuestions {
                let asked = monotonicNow()
                guard let question = try? control.ask(host - 1, "ping", ControlMessage.Nothing()),
                    let pong = try? control.answer(to: question, until: asked + 500_000_000).body(Pong.self),
                    let there = pong.monotonicNanoseconds
                else { break }
                let heard = monotonicNow()
                if best.map({ heard - asked < $0.heard - $0.asked }) ?? true { best = (asked, there, heard) }
            }
            if let best {
                clocks[host, default: ClockLine()].add(asked: best.asked, there: best.there, heard: best.heard)
            }
        }
    }
    static let clockQuestions = 16

    func note(_ kind: TraceEvent.Kind, _ host: Int, frame: UInt64, count: Int) {
        guard let trace = settings.trace else { return }
        let now = monotonicNow()
        trace.add(TraceEvent(kind, begin: now, end: now, frame: frame, epoch: epoch, subject: host, detail: count))
    }

    public func remove() {
        forgetAwaited()
        isOver.raise()
        streams?.close()
        if let watching { pthread_join(watching, nil) }
        desk.remove()
        link?.close(lingers: false)
        awaitLastLines()
        control?.close()
        linkContext.close()
        controlContext.close()
    }

    /// A node says that the run is over there, and before that what modules printed last. Waited for as long as something
    /// comes, within reason.
    func awaitLastLines() {
        let limit = deadline(after: 10)
        var heard = heardLines.load(ordering: .relaxed), quietLimit = deadline(after: 0.5)
        while !begunHosts.isSubset(of: silentHosts.withLock { $0 }), monotonicNow() < min(limit, quietLimit) {
            usleep(500)
            let now = heardLines.load(ordering: .relaxed)
            if now != heard { quietLimit = deadline(after: 0.5) }
            heard = now
        }
    }
}
