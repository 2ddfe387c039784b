import CHermes
import CKeeper
import Glibc
import HermesBackplane
import HermesModel
import HermesPlan
import HermesProtocol
import HermesSystem
import HermesTransport

// Modules terminate in order; whatever does not is ended, and nothing is left.

extension EmbeddedNode {
    public func terminate(hurried: Bool) {
        lossTarget.with { $0 = nil }
        let living = recordOrder.filter { exitStatus($0) == nil }
        terminateInOrder(hurried: hurried)
        segment?.setState(.ended)
        if supervisor == nil {
            keeper_finish(&processKeeper)
        } else {
            awaitExits()
            keeper_finish(&processKeeper)
            supervisor?.stop()
            unsafeModules += living.compactMap { refusedSafeState($0) ?? missedSafeState($0) }
        }
        lifecycles.with { lifecycles in
            for index in lifecycles.indices { _ = lifecycles[index].handle(.finish) }
        }
    }

    public func remove() {
        segment?.unlink()
        inprocWatch.stop()
        inproc.removeAll()
        executor = nil
        folder.remove()
    }

    /// Each module in schedule order is told to terminate and waited for; together they have a second.
    func terminateInOrder(hurried: Bool) {
        let limit = deadline(after: 1)
        // Modules may not hear through a segment that something wrote over.
        let isDamaged = segment?.damage != nil
        for index in plan?.stageOrder ?? Array(simulation.modules.indices) {
            if let inside = inproc[index] {
                if inside.terminate() != 0 {
                    unsafeModules.append(failure(.status, index, Self.unsafe("terminate failed", inside.reason)))
                }
                continue
            }
            guard let process = processes[index], exitStatus(index) == nil else { continue }
            let isFree = plan?.modules[index].isFree ?? false
            let isReady = segment?.isReady(module: index) == true
            guard !isFree, let sequence = process.send(Int(HERMES_TERMINATE), until: limit) else {
                endBySignal(index)
                continue
            }
            terminations[index] = sequence
            if isReady { segment?.announceCommand(toModule: index) }
            // One that hangs in a step does not read its FIFO; SIGTERM has libhermes terminate it from beside.
            let owes = isDamaged || hurried && segment?.isOwed(byModule: index) == true
            let announced = record(index) { $0.announcement != nil }
            if owes || !announced { endBySignal(index) }
            if announced && !owes {
                _ = supervisor!.records.wait(until: limit) { records -> Bool? in
                    let record = records[Int(process.id)]
                    return record.replies[sequence] != nil || record.exitStatus != nil || record.isOrphaned ? true : nil
                }
            }
        }
    }

    // MARK: Safe states

    private static func unsafe(_ cause: String, _ reason: String = "") -> String {
        "did not reach its safe state: \(cause)\(reason.isEmpty ? "" : ": \(reason)")"
    }

    /// What came of its `terminate`; nil where that has not returned.
    private func termination(of index: Int) -> (status: Int32, text: String)? {
        record(index) { record in record.ended ?? terminations[index].flatMap { record.replies[$0] } }
    }

    /// What a module has said by itself, whoever told it to terminate.
    func refusedSafeState(_ index: Int) -> RunFailure? {
        guard let ended = termination(of: index), ended.status != 0 else { return nil }
        return failure(.status, index, Self.unsafe("terminate failed", ended.text))
    }

    /// A module that lived when it was told to terminate, and ended without having done so.
    private func missedSafeState(_ index: Int) -> RunFailure? {
        let record = record(index) { $0 }
        guard record.announcement != nil, termination(of: index) == nil, !record.isOrphaned else { return nil }
        if killed.contains(index) {
            return failure(.timeout, index, Self.unsafe("it did not terminate in time and was killed"))
        }
        guard let status = record.exitStatus, status != 0 else { return nil }
        let number = keeper_status_signal(status)
        return failure(
            number != 0 ? .signal : .exit, index,
            Self.unsafe(
                number != 0 ? "ended by \(signalWords(number))" : "exited with code \(keeper_status_code(status))",
                "before terminate had returned"))
    }

    /// For a module that does not read its FIFO.
    private func endBySignal(_ index: Int) {
        keeper_terminate(&processKeeper, processes[index]!.id)
        // A free script is told once: it may be at its last work already.
        if plan?.modules[index].isFree != true { processes[index]!.hangUp() }
    }

    /// A little more than a guard takes for what it has to end (guard.c).
    private static let familySeconds = 4.0

    /// The kill ladder's lower rungs: SIGTERM for who has not gone, then SIGKILL for it and all it has started.
    func awaitExits() {
        let spawned = recordOrder
        func allHave(within seconds: Double, _ ended: (ProcessRecord) -> Bool) -> Bool {
            supervisor!.records.wait(until: deadline(after: seconds)) { records -> Bool? in
                spawned.allSatisfy { index in
                    let record = records[Int(processes[index]!.id)]
                    return ended(record) || record.launchError != nil || record.isOrphaned
                } ? true : nil
            } ?? false
        }
        func allGone(within seconds: Double) -> Bool { allHave(within: seconds) { $0.exitStatus != nil } }
        defer {
            // What they have started, also a module whose wrapper has ended before it: their guards see to it.
            _ = allHave(within: Self.familySeconds) { $0.isGone }
            endOrphans()
        }
        if allGone(within: 1.0) { return }
        for index in spawned where lives(index) {
            // Free scripts have no terminate: SIGTERM is how they are told.
            if plan?.modules[index].isFree != true {
                reporter.warning(
                    "module \(simulation.modules[index].name) has not terminated within 1 s; it gets SIGTERM")
            }
            endBySignal(index)
        }
        if allGone(within: 0.7) { return }
        for index in spawned where lives(index) {
            reporter.warning("module \(simulation.modules[index].name) did not terminate; killed")
            keeper_kill(&processKeeper, processes[index]!.id)
            killed.insert(index)
        }
        _ = allGone(within: 2)
    }

    private func lives(_ index: Int) -> Bool { record(index) { $0.exitStatus == nil && $0.launchError == nil } }

    /// Processes whose keeper was killed got SIGTERM from the kernel; after their second they are ended from here.
    func endOrphans() {
        let orphans = supervisor!.records.with {
            $0.filter { $0.isOrphaned && $0.exitStatus == nil && $0.pid > 0 }.map(\.pid)
        }
        let limit = deadline(after: 1.2)
        while orphans.contains(where: { kill($0, 0) == 0 }) && monotonicNow() < limit { usleep(10_000) }
        for pid in orphans { kill(-pid, SIGKILL) }
    }
}
