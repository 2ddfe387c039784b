import Glibc
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport
import Synchronization

// What is said to hosts and heard of them, and who is to blame when somebody fails.
extension Fleet {
    func say<Body: MessageBody>(_ what: String, _ body: Body, to host: Int) throws {
        let message = try ControlMessage(what, id: number, body)
        try linked(host) { try link!.send(message, to: host, epoch: desk.epoch) }
    }

    /// What belongs to a message of a host.
    func read<Body: MessageBody>(_ message: ControlMessage, from host: Int) throws -> Body {
        do throws(UnsoundMessage) {
            return try message.read()
        } catch {
            throw RunFailure(.protocolError, host: directory.name(host), cause: "sent what can't be used: \(error)")
        }
    }

    /// What belongs to a message that nobody has asked for: the run goes on without it, and says so.
    func take<Body: MessageBody>(_ message: ControlMessage, from host: Int) -> Body? {
        do throws(UnsoundMessage) {
            return try message.read()
        } catch {
            settings.warning("host \(directory.name(host)) sent what can't be used: \(error)")
            return nil
        }
    }

    /// A control message on a link; nil for a done.
    func message(_ word: (peer: Int, header: FrameHeader, payload: UnsafeRawBufferPointer)) throws -> ControlMessage? {
        if word.header.kind == .done { return nil }
        guard word.header.kind == .control, let message = ControlMessage(word.payload) else {
            throw RunFailure(
                .protocolError, host: directory.name(word.peer),
                cause: "sent what is neither a done nor a control message")
        }
        return message
    }

    func awaitAll(_ what: String, _ take: (Int, ControlMessage) throws -> Void) throws {
        try awaitAnswer(what, of: Set(1..<directory.count), take)
    }

    func awaitAnswer(
        _ what: String, of hosts: Set<Int>, _ take: (Int, ControlMessage) throws -> Void
    ) throws {
        var owed = hosts
        while !owed.isEmpty {
            let word = try word(), host = word.peer
            if word.header.kind == .values {
                self.take(values: word.header, from: host, word.payload)
                continue
            }
            guard let message = try message(word) else { continue }
            if message.say == what {
                if owed.remove(host) != nil { try take(host, message) }
            } else {
                try hear(unawaited: message, from: host)
            }
        }
        number += 1
    }

    func word() throws -> (peer: Int, header: FrameHeader, payload: UnsafeRawBufferPointer) {
        do throws(LinkFault) {
            let half = deadline(after: patienceSeconds / 2)
            if let word = try link!.nextWord(until: half) { return word }
            settings.warning("waiting for \(whoOwes), frame \(frame)")
            if let word = try link!.nextWord(until: deadline(after: patienceSeconds / 2)) { return word }
        } catch {
            throw alarmFailure(error)
        }
        throw RunFailure(
            .timeout, frame: hasStaged ? frame : nil,
            cause: "nothing was heard of \(whoOwes) for \(Int(patienceSeconds)) s")
    }

    /// Hosts watch their modules' time-outs themselves; this is for one that lives and does not even do that.
    var patienceSeconds: Double {
        longestStepSeconds == 0 ? 0 : max(longestStepSeconds, 60) * Double(simulation.execution.schedule.count + 1)
    }

    /// How long a step or a part of a start may take on any host; 0 for ever.
    var longestStepSeconds: Double {
        let all = simulation.modules.map { module in
            let timeout = module.stepTimeoutSeconds ?? simulation.execution.stepTimeoutSeconds
            let start = module.startSeconds(stepSeconds: timeout)
            if timeout == 0 || start == 0 { return 0.0 }
            let isRestarted = (module.onError ?? simulation.execution.onModuleError) == .restart
            return max(isRestarted ? timeout + max(Self.restartSeconds, 2 * start) : timeout, start)
        }
        return all.contains(0) ? 0 : all.max() ?? 0
    }
    /// Seconds in which a process that failed has ended and another has staged in its place.
    static let restartSeconds = 60.0

    var whoOwes: String {
        let done = runs.isEmpty ? [] : runs[oldest].done
        let names = done.indices.dropFirst().filter { done[$0] < runs[oldest].count }.map {
            "host \(directory.name($0))"
        }
        return names.isEmpty ? "the other hosts" : names.joined(separator: ", ")
    }

    /// True for a word that says what `on_module_error` did on a host, ahead of the done of that frame, or, ahead of its last
    /// word, where its time went.
    func take(note message: ControlMessage, from host: Int) -> Bool {
        let name = directory.name(host)
        if message.say == "times" {
            guard var times: HostTimes = take(message, from: host) else { return true }
            times.host = name
            told.removeAll { $0.host == name }
            told.append(times)
            return true
        }
        if message.say == "unsafe" {
            guard var failure: RunFailure = take(message, from: host), unsafe.count < Self.mostErrors else {
                return true
            }
            failure.host = name
            unsafe.append(failure)
            return true
        }
        if message.say == "trace" {
            guard var trace: HostTrace = take(message, from: host) else { return true }
            trace.host = name
            traced.removeAll { $0.host == name }
            traced.append(trace)
            return true
        }
        guard message.say == "fired" else { return false }
        guard var error: ModuleError = take(message, from: host) else { return true }
        error.host = name
        let isKept = errors.withLock { errors in
            if errors.count < Self.mostErrors { errors.append(error) }
            return errors.count < Self.mostErrors
        }
        if !isKept { settings.warning("host \(name) tells of more failed modules than are kept") }
        if error.action == .held, let index = simulation.modules.firstIndex(where: { $0.name.isSame(as: error.module) })
        {
            states.withLock { $0[index] = .held }
        }
        return true
    }

    /// Of failures that end no run: no run with its restart limits has as many.
    static let mostErrors = 10_000

    /// A word nobody waited for: what fired on a host, or that it failed.
    func hear(unawaited message: ControlMessage, from host: Int) throws {
        if message.say == "values" { return take(values: message, from: host) }
        if !hasStaged, message.say == "applied" { applied[host] = take(message, from: host) }
        guard Self.words.contains(message.say) else {
            throw RunFailure(
                .protocolError, host: directory.name(host), cause: "said '\(message.say)', which is nothing a host says"
            )
        }
        guard let failure = failure(in: message, from: host) else { return }
        throw failure.code == .lost && failure.peer != nil ? try rootOf(failure) : failure
    }

    /// What hosts say on a link.
    // ASCII
    static let words: Set<String> = [
        "ok", "announced", "values", "applied", "fired", "times", "trace", "unsafe", "failed",
    ]

    /// What a host says that has failed; nil for any other word.
    func failure(in message: ControlMessage, from host: Int) -> RunFailure? {
        guard !take(note: message, from: host), message.say == "failed" else { return nil }
        var failure: RunFailure
        do throws(UnsoundMessage) {
            failure = try message.read()
        } catch {
            failure = RunFailure(.protocolError, cause: "failed, and why it did can't be read: \(error)")
        }
        failure.host = failure.host ?? directory.name(host)
        openHosts.remove(host)
        if let index = failure.module.flatMap({ name in simulation.modules.firstIndex { $0.name.isSame(as: name) } }) {
            states.withLock { $0[index] = .error }
        }
        return failure
    }

    /// Does the desk's part; a host that fails meanwhile interrupts it, and is what is reported.
    func onDesk(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let failure as RunFailure where failure.code == .refused || failure.code == .lost {
            if let known = try hostFailure() { throw known }
            throw failure.peer == nil ? failure : try rootOf(failure)
        }
    }

    /// What is known of a host's failure. What the host itself still said comes first, then what its node saw: both may
    /// be on their way when the link is found broken.
    func hostFailure() throws -> RunFailure? {
        let limit = monotonicNow() + Self.wordsNanoseconds
        while true {
            while let word = try link?.nextWord(until: monotonicNow(), heedsAlarm: false) { try take(word) }
            guard var failure = loss.withLock({ $0 }) else { return nil }
            if failure.code != .lost || monotonicNow() > limit || isDetailed.load(ordering: .relaxed) {
                if hasStaged { failure.frame = failure.frame ?? frame }
                return failure
            }
            usleep(2000)
        }
    }
    /// How long the cause of a broken link may take to come.
    static let wordsNanoseconds: UInt64 = 60_000_000

    /// Hosts have lost links to others, and end; so others lose theirs to them. To blame is what is no consequence: a
    /// failure of another kind, or else the host that somebody lost and that says nothing itself. If that one is not lost
    /// here, it is the cable between the two.
    func rootOf(_ report: RunFailure) throws -> RunFailure {
        reports.append(report)
        let limit = deadline(after: settings.livenessSeconds * 0.2)
        func suspects() -> [RunFailure] {
            reports.filter { each in !reports.contains { $0.host == each.peer } }
        }
        while monotonicNow() < limit {
            // The desk lets go of its links because of a loss, so whoever lost the desk is no cause.
            if let loss = loss.withLock({ $0 }),
                suspects().contains(where: { $0.peer == loss.host || $0.peer == directory.name(0) })
            {
                return try hostFailure() ?? report
            }
            guard let word = try link?.nextWord(until: monotonicNow() + 5_000_000, heedsAlarm: false) else { continue }
            if word.header.kind == .done {
                try take(word)
            } else if let message = ControlMessage(word.payload), let failure = failure(in: message, from: word.peer) {
                guard failure.code == .lost, failure.peer != nil else { return failure }
                reports.append(failure)
            }
        }
        for suspect in suspects() where goneHosts.withLock({ $0.contains(directory.index(suspect.peer!)) }) {
            return RunFailure(
                .lost, host: suspect.peer, frame: suspect.frame,
                cause: "lost: the host or its node is down, or the network between")
        }
        return suspects().first ?? Self.end(of: reports)
    }

    /// Where all have lost somebody who has lost somebody, two have lost each other, and the rest one of these: where the
    /// first report leads to.
    static func end(of reports: [RunFailure]) -> RunFailure {
        var report = reports[0], passed = [report.host]
        while let next = reports.first(where: { $0.host == report.peer }), !passed.contains(next.host) {
            report = next
            passed.append(next.host)
        }
        return report
    }

    func linked<Result>(_ host: Int, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let fault as LinkFault {
            throw alarmFailure(fault)
        }
    }

    func alarmFailure(_ fault: LinkFault) -> any Error {
        do {
            if let failure = try hostFailure() { return failure }
        } catch {
            return error
        }
        switch fault {
        case .alarm, .interrupted:
            if isAbandoned.load(ordering: .relaxed) {
                return RunFailure(.refused, cause: "interrupted while waiting for hosts")
            }
            do { try desk.atEdge() } catch { return error }
            return RunFailure(.protocolError, cause: "the run was interrupted for no known reason")
        case .protocolError(let peer, let cause):
            return RunFailure(.protocolError, host: directory.name(peer), cause: cause)
        case .silent(let peer, _):
            return RunFailure(.timeout, host: directory.name(peer), cause: "does not answer")
        case .unreachable(let peer):
            return RunFailure(.lost, host: directory.name(peer), cause: "can't be reached any more")
        }
    }

    func answer(_ question: NodeControl.Question, host: Int, until limit: UInt64) throws -> ControlMessage {
        do {
            return try control!.answer(to: question, until: limit)
        } catch let refused as Refused {
            throw RunFailure(.refused, host: directory.name(host), cause: refused.cause)
        } catch let missing as NodeControl.NoAnswer {
            if isAbandoned.load(ordering: .relaxed) {
                throw RunFailure(.refused, cause: "interrupted while waiting for host \(directory.name(host))")
            }
            throw RunFailure(.lost, host: directory.name(host), cause: missing.cause)
        }
    }
}
