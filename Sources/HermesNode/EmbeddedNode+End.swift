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
        terminateInOrder(hurried: hurried)
        segment?.setState(.ended)
        if supervisor == nil {
            keeper_finish(&processKeeper)
        } else {
            awaitExits()
            keeper_finish(&processKeeper)
            supervisor?.stop()
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
        for index in plan?.stageOrder ?? Array(simulation.modules.indices) {
            if let inside = inproc[index] {
                inside.terminate()
                continue
            }
            guard let process = processes[index], exitStatus(index) == nil else { continue }
            let isFree = plan?.modules[index].isFree ?? false
            let isReady = segment?.isReady(module: index) == true
            guard !isFree, let sequence = process.send(Int(HERMES_TERMINATE), until: limit) else {
                keeper_signal(&processKeeper, process.id, SIGTERM, 0)
                continue
            }
            if isReady { segment?.announceCommand(toModule: index) }
            // One that hangs in a step does not read its FIFO; SIGTERM has libhermes terminate it from beside.
            let owes = hurried && segment?.isOwed(byModule: index) == true
            let announced = record(index) { $0.announcement != nil }
            if owes || !announced { keeper_signal(&processKeeper, process.id, SIGTERM, 0) }
            if announced && !owes {
                _ = supervisor!.records.wait(until: limit) { records -> Bool? in
                    let record = records[Int(process.id)]
                    return record.replies[sequence] != nil || record.exitStatus != nil || record.isOrphaned ? true : nil
                }
            }
        }
    }

    /// The kill ladder's lower rungs: SIGTERM for who has not gone, then SIGKILL for its group.
    func awaitExits() {
        let spawned = recordOrder.filter { index in record(index) { $0.launchError == nil } }
        func allGone(within seconds: Double) -> Bool {
            supervisor!.records.wait(until: deadline(after: seconds)) { records -> Bool? in
                let seen = spawned.map { records[Int(processes[$0]!.id)] }
                return seen.allSatisfy { $0.exitStatus != nil || $0.isOrphaned } ? true : nil
            } ?? false
        }
        defer { endOrphans() }
        if allGone(within: 1.0) { return }
        for index in spawned where exitStatus(index) == nil {
            // Free scripts have no terminate: SIGTERM is how they are told.
            if plan?.modules[index].isFree != true {
                reporter.warning(
                    "module \(simulation.modules[index].name) has not terminated within 1 s; it gets SIGTERM")
            }
            keeper_signal(&processKeeper, processes[index]!.id, SIGTERM, 0)
        }
        if allGone(within: 0.7) { return }
        for index in spawned where exitStatus(index) == nil {
            reporter.warning("module \(simulation.modules[index].name) did not terminate; killed")
            keeper_signal(&processKeeper, processes[index]!.id, SIGKILL, 1)
        }
        _ = allGone(within: 2)
    }

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
