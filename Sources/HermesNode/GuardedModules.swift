import HermesBackplane
import HermesModel
import HermesPlan

/// The modules whose failure does not end the run, and for each what it takes to make a step undone: a copy of its slots
/// as they were before the frame, in memory taken once. Only the thread that runs the frames uses it.
final class GuardedModules {
    struct Entry {
        let index: Int
        let policy: ErrorPolicy
        let isInproc: Bool
        let phase: Int
        let divisor: UInt64
        let slots: Range<Int>
        /// Those of its slots that no wire drives.
        let own: [Range<Int>]
        fileprivate let edge, spare: UnsafeMutablePointer<UInt64>

        /// It failed and is not stepped any more.
        var isHeld = false
        /// It steps in the frame under way, or did before it failed.
        var isDue = false
        /// Its part of the frame under way is over.
        var hasAnswered = false
        /// CLOCK_MONOTONIC nanoseconds when it was asked for its step once more; 0 for never.
        var askedAgain: UInt64 = 0
        /// What it saved after its last step; nil when it has saved nothing.
        var state: [UInt8]?
        var savesState = false
        var ladder: RestartLadder
    }

    var entries: [Entry] = []
    /// For each phase that has any, the processes among them, by index in `entries`.
    private(set) var posts: [(phase: Int, members: [Int])] = []
    /// Phases of the frame under way that need no look any more, by index in `posts`.
    var isFinished: [Bool] = []
    /// Modules that are gone or broke the protocol and were not dealt with yet.
    var lost: Set<Int> = []
    private let segment: Segment
    /// By module index.
    private var places: [Int: Int] = [:]

    init(_ plan: Plan, policies: [ErrorPolicy], restartLimit: Int, segment: Segment) {
        self.segment = segment
        for (index, module) in plan.modules.enumerated() where policies[index] != .stop && !module.isFree {
            let slots = module.firstSignal..<module.firstSignal + module.signalCount
            let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: 2 * max(slots.count, 1))
            memory.initialize(repeating: 0, count: 2 * max(slots.count, 1))
            places[index] = entries.count
            entries.append(
                Entry(
                    index: index, policy: policies[index], isInproc: module.isInproc, phase: module.phase,
                    divisor: UInt64(module.divisor), slots: slots,
                    own: Self.runs(of: slots) { !plan.registry.signals[$0].isWired }, edge: memory,
                    spare: memory + slots.count, ladder: RestartLadder(limit: restartLimit)))
            segment.setGuard(policies[index], ofModule: index)
        }
        for phase in plan.phases.indices {
            let members = entries.indices.filter { entries[$0].phase == phase && !entries[$0].isInproc }
            if !members.isEmpty { posts.append((phase, members)) }
        }
        isFinished = Array(repeating: false, count: posts.count)
    }

    deinit { for entry in entries { entry.edge.deallocate() } }

    /// Neighbours of which `isWanted` holds.
    private static func runs(of slots: Range<Int>, where isWanted: (Int) -> Bool) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for slot in slots where isWanted(slot) {
            if let last = runs.last, last.upperBound == slot {
                runs[runs.count - 1] = last.lowerBound..<slot + 1
            } else {
                runs.append(slot..<slot + 1)
            }
        }
        return runs
    }

    /// Where a module stands in `entries`; nil for one whose failure ends the run.
    func place(of module: Int) -> Int? { places[module] }

    /// What was set from outside is in the slots, and no module steps yet: keeps what the frame begins with.
    func begin(_ frame: UInt64) {
        for place in entries.indices {
            let isDue = !entries[place].isHeld && (frame - 1) % entries[place].divisor == 0
            entries[place].isDue = isDue
            entries[place].hasAnswered = false
            if isDue { copy(entries[place].slots, to: entries[place].edge) }
        }
        for post in isFinished.indices { isFinished[post] = false }
    }

    /// Every process of them that was to step in the frame has been dealt with.
    var areComplete: Bool {
        posts.indices.allSatisfy { post in
            isFinished[post] || posts[post].members.allSatisfy { !entries[$0].isDue }
        }
    }

    /// Its outputs, and what users set of it, are again what the frame began with; what wires brought stays.
    func putBack(_ place: Int) {
        let entry = entries[place]
        for run in entry.own {
            (segment.slots + run.lowerBound).update(
                from: entry.edge + (run.lowerBound - entry.slots.lowerBound), count: run.count)
        }
    }

    /// Keeps its slots as they are now, `putAside` for `takeUp`.
    func putAside(_ place: Int) { copy(entries[place].slots, to: entries[place].spare) }

    func takeUp(_ place: Int) {
        let entry = entries[place]
        (segment.slots + entry.slots.lowerBound).update(from: entry.spare, count: entry.slots.count)
    }

    private func copy(_ slots: Range<Int>, to memory: UnsafeMutablePointer<UInt64>) {
        memory.update(from: segment.slots + slots.lowerBound, count: slots.count)
    }
}
