import HermesModel
import HermesSystem

/// A signal as the simulation knows it: what its module announced with what the configuration says over it.
public struct Signal: Sendable, Equatable {
    public var name: SignalName
    /// Index of its module in the plan.
    public var module: Int
    public var type: SignalType
    /// May be set from outside; false for a wired signal.
    public var isWritable: Bool
    public var isPublished: Bool
    /// A wire drives it.
    public var isWired: Bool
    public var direction: AnnouncedSignal.Direction
    public var unit: String?
    public var summary: String?

    public init(
        name: SignalName, module: Int, type: SignalType, isWritable: Bool, isPublished: Bool, isWired: Bool,
        direction: AnnouncedSignal.Direction, unit: String?, summary: String?
    ) {
        self.name = name
        self.module = module
        self.type = type
        self.isWritable = isWritable
        self.isPublished = isPublished
        self.isWired = isWired
        self.direction = direction
        self.unit = unit
        self.summary = summary
    }
}

/// All signals of a simulation, by qualified name and by module. A module's signals are neighbours.
public struct SignalRegistry: Sendable {
    public private(set) var signals: [Signal] = []
    private var indices: [ByteString: Int] = [:]
    /// Where each module's signals are.
    private var ranges: [ByteString: Range<Int>] = [:]

    public init() {}

    /// Adds a signal; nil when its name is taken, else its index.
    @discardableResult
    public mutating func register(_ signal: Signal) -> Int? {
        let name = signal.name.description.bytes
        guard indices[name] == nil else { return nil }
        indices[name] = signals.count
        signals.append(signal)
        let first = ranges[signal.name.module.bytes]?.lowerBound ?? signals.count - 1
        ranges[signal.name.module.bytes] = first..<signals.count
        return signals.count - 1
    }

    public func index(of qualifiedName: String) -> Int? { indices[qualifiedName.bytes] }

    public func get(_ qualifiedName: String) -> Signal? { indices[qualifiedName.bytes].map { signals[$0] } }

    /// The signals of a module, by its index in the plan, in the order it announced them.
    public func signals(ofModule module: Int) -> [Signal] { signals.filter { $0.module == module } }

    /// Indices of published signals, ordered by name: the columns of a recording.
    public var publishedInOrder: [Int] {
        signals.indices.filter { signals[$0].isPublished }.sorted { signals[$0].name < signals[$1].name }
    }

    /// Indices of a module's signals, by its name.
    public func indices(ofModule module: String) -> Range<Int> { ranges[module.bytes] ?? 0..<0 }

    /// "; did you mean ...?" for a name that isn't registered, or "".
    public func hint(for name: SignalName, _ nearNames: inout NearNames) -> String {
        nearNames.didYouMean(name.signal, among: indices(ofModule: name.module).lazy.map { signals[$0].name.signal })
    }

    mutating func update(_ index: Int, _ change: (inout Signal) -> Void) { change(&signals[index]) }
}
