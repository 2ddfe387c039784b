import HermesModel
import HermesNode
import HermesProtocol
import Synchronization

/// What the hosts are that modules have run on, as they are met.
final class HostMachines: Sendable {
    private let deskHasModules: Bool
    private let others = Mutex<[(name: String, machine: Machine)]>([])

    init(_ simulation: Simulation) { deskHasModules = simulation.modules.contains { $0.host == nil } }

    func add(_ host: String, _ machine: Machine) {
        others.withLock { others in
            if !others.contains(where: { $0.name == host }) { others.append((host, machine)) }  // ASCII
        }
    }

    func all(with second: ComparisonPrintout.SecondRun) -> [(name: String, machine: Machine)] {
        let desk = deskHasModules || second == .onOneHost ? [(name: "desk", machine: ThisMachine.machine)] : []
        return desk + others.withLock { $0 }
    }
}
