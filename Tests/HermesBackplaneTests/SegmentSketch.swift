import Glibc
import HermesBackplane
import HermesModel
import HermesPlan
import HermesSystem
import Synchronization

/// The plan of a small simulation and segments made for it.
struct SegmentSketch {
    var modules: [Module] = []
    var announcements: [Announcement] = []
    var wires: [Wire] = []
    var schedule: [[String]]?
    private static let place = SourceLocation(file: "sketch", line: 1, column: 1)

    mutating func module(_ name: String, kind: Module.Kind = .process, isFree: Bool = false, signals: [AnnouncedSignal])
    {
        modules.append(Module(name: name, kind: kind, program: "/bin/true", location: Self.place))
        announcements.append(Announcement(isFree: isFree, signals: signals))
    }

    mutating func wire(_ source: String, _ destination: String, gain: Double = 1, offset: Double = 0) {
        wires.append(
            Wire(
                source: SignalName(source)!, destination: SignalName(destination)!, gain: gain, offset: offset,
                sourceLocation: Self.place, destinationLocation: Self.place))
    }

    func plan() throws -> Plan {
        let execution = Execution(rateHz: 8, schedule: schedule ?? [modules.map(\.name)])
        let simulation = Simulation(
            name: "sketch", baseDirectory: "/", modules: modules, wires: wires, execution: execution)
        return try Planner.plan(simulation, announcements: announcements).plan
    }

    func segment(_ name: String = Self.uniqueName()) throws -> Segment {
        try Segment(name: name, plan: plan(), run: 7)
    }

    private static let made = Atomic<Int>(0)
    /// A name that nobody else on this machine uses. What is called `hermes_` is swept once nobody owns it.
    static func uniqueName(prefix: String = "hermes_") -> String {
        "/\(prefix)units-\(getpid())-\(made.add(1, ordering: .relaxed).newValue)"
    }
}

/// Nanoseconds of CLOCK_MONOTONIC by which everything that does not hang has happened.
func patience() -> UInt64 { monotonicNow() + 60_000_000_000 }

func monotonicNow() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

/// True as soon as `condition` holds, false when it does not come true.
func eventually(_ condition: () -> Bool) -> Bool {
    let limit = patience()
    while !condition() {
        guard monotonicNow() < limit else { return false }
        sched_yield()
    }
    return true
}
