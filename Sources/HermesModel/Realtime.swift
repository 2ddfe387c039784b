/// `execution.realtime`: how a realtime run keeps its time.
public struct Realtime: Sendable {
    /// What a frame does that ends after the next one should have begun.
    public var onOverrun: OverrunPolicy
    /// Overruns within so many seconds of the first frame's start are counted apart and stop nothing.
    public var graceSeconds: Double
    /// SCHED_FIFO, 1 to 99; nil: the system's ordinary scheduling.
    public var priority: Int?
    /// For the thread that paces frames and runs those of the desk, for those that run frames on named hosts, and for
    /// modules; nil: any.
    public var coordinatorCPUs, nodeCPUs, moduleCPUs: CPUList?
    public var locksMemory: Bool
    /// What can't be had ends the run before its first frame; else it is a warning.
    public var isRequired: Bool

    public static let priorities = 1...99

    public init(
        onOverrun: OverrunPolicy = .catchUp, graceSeconds: Double = 0.5, priority: Int? = nil,
        coordinatorCPUs: CPUList? = nil, nodeCPUs: CPUList? = nil, moduleCPUs: CPUList? = nil,
        locksMemory: Bool = false, isRequired: Bool = false
    ) {
        self.onOverrun = onOverrun
        self.graceSeconds = graceSeconds
        self.priority = priority
        self.coordinatorCPUs = coordinatorCPUs
        self.nodeCPUs = nodeCPUs
        self.moduleCPUs = moduleCPUs
        self.locksMemory = locksMemory
        self.isRequired = isRequired
    }

    /// One below the others, so that a module that does not come back can't keep the thread that notices from its CPU.
    public var modulePriority: Int? { priority.map { max($0 - 1, Self.priorities.lowerBound) } }
}

/// What follows when a realtime frame ends after the next one should have begun.
public enum OverrunPolicy: String, Sendable, CaseIterable {
    /// Deadlines stay: late frames follow each other at once until they have caught up.
    case catchUp = "catch_up"
    /// Deadlines move by what the frame was late.
    case slip
    /// The next frame begins at the next deadline that is not over: deadlines are left out, frames never.
    case skip
    /// The run ends.
    case stop
}

/// CPUs to run on, by the numbers that Linux gives them.
public struct CPUList: Sendable {
    /// In order, each once, none empty.
    public var numbers: [Int]
    public var location: SourceLocation

    /// Of any machine that Linux runs on.
    public static let range = 0...8191

    public init(_ numbers: [Int], location: SourceLocation) {
        self.numbers = numbers
        self.location = location
    }

    /// "0-3, 6".
    public static func text(_ numbers: [Int]) -> String {
        var ranges: [ClosedRange<Int>] = []
        for number in numbers {
            if let last = ranges.last, last.upperBound + 1 == number {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ", ")
    }
}
