import HermesModel

/// What a host does in each frame, computed once: modules in phases, signals in slots, wires in deliveries.
/// Names end here; below the planner a module, a signal and a phase are indices.
public struct Plan: Sendable {
    public var simulationName: String
    public var rateHz: Double
    /// In file order.
    public var modules: [PlannedModule]
    /// Module indices, phase by phase.
    public var phases: [[Int]]
    /// In directory order; a signal's index is its slot.
    public var registry: SignalRegistry
    /// One for each phase, delivered when its modules are done, then one with every wire for the start.
    public var deliveries: [Delivery]
    /// Every wire, bulk wires expanded.
    public var wires: [ResolvedWire] = []
    /// Where modules run: the desk first, whether or not a module is there, then hosts with modules in the order of
    /// `hosts:`. A module's host is an index into these.
    public var hosts: [String?] = [nil]

    public init(
        simulationName: String, rateHz: Double, modules: [PlannedModule], phases: [[Int]], registry: SignalRegistry,
        deliveries: [Delivery]
    ) {
        self.simulationName = simulationName
        self.rateHz = rateHz
        self.modules = modules
        self.phases = phases
        self.registry = registry
        self.deliveries = deliveries
    }

    /// The order in which modules are staged and reset: as the schedule names them.
    public var stageOrder: [Int] { phases.flatMap { $0 } }
}

public struct PlannedModule: Sendable, Equatable {
    public var name: String
    public var isInproc: Bool
    /// A free script: it runs beside the frames and is never stepped.
    public var isFree: Bool
    public var phase: Int
    /// Index into the plan's hosts; 0: the desk.
    public var host = 0
    /// The module steps in frames 1, 1 + divisor, 1 + 2 * divisor...
    public var divisor: Int
    /// Seconds a step covers: divisor / rate.
    public var dt: Double
    public var firstSignal: Int
    public var signalCount: Int

    public init(
        name: String, isInproc: Bool, isFree: Bool, phase: Int, divisor: Int, dt: Double, firstSignal: Int,
        signalCount: Int
    ) {
        self.name = name
        self.isInproc = isInproc
        self.isFree = isFree
        self.phase = phase
        self.divisor = divisor
        self.dt = dt
        self.firstSignal = firstSignal
        self.signalCount = signalCount
    }
}

/// Wires delivered at one moment: every source is read before any destination is written.
public struct Delivery: Sendable, Equatable {
    /// Neighbouring slots to neighbouring slots, bit for bit.
    public struct Run: Sendable, Equatable {
        public var source, destination, count: Int

        public init(source: Int, destination: Int, count: Int) {
            self.source = source
            self.destination = destination
            self.count = count
        }
    }
    /// One slot to another, bit for bit.
    public struct Copy: Sendable, Equatable {
        public var source, destination: Int

        public init(source: Int, destination: Int) {
            self.source = source
            self.destination = destination
        }
    }
    /// (source * gain) + offset, in the destination's type.
    public struct Conversion: Sendable, Equatable {
        public var source, destination: Int
        public var sourceType, destinationType: SignalType
        public var gain, offset: Double

        public init(
            source: Int, destination: Int, sourceType: SignalType, destinationType: SignalType, gain: Double,
            offset: Double
        ) {
            self.source = source
            self.destination = destination
            self.sourceType = sourceType
            self.destinationType = destinationType
            self.gain = gain
            self.offset = offset
        }
    }

    public var runs: [Run] = []
    public var copies: [Copy] = []
    public var conversions: [Conversion] = []
    /// True when a destination is also a source: the values must pass through a stage.
    public var isStaged = false

    public init() {}

    /// Slots the stage needs.
    public var stageCount: Int {
        isStaged ? runs.reduce(0) { $0 + $1.count } + copies.count + conversions.count : 0
    }
}
