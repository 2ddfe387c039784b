import CHermes
import HermesPlan
import HermesSystem

/// Where everything of a segment lies; `docs/segment.md` is its description in words.
struct SegmentLayout {
    private(set) var total = 0
    let strings: Int
    let data: Int
    let control: Int
    let modules, phases, phaseList, extras, deliveries, runs, copies, converts, stage, queue, snapshot: Int
    let queueCapacity: Int
    let texts: TextTable
    private static let page = 4096

    /// - Throws: `SegmentError` when the segment would pass the 4 GiB that its offsets reach.
    init(_ share: HostShare) throws {
        let plan = share.plan
        let everyDelivery = plan.deliveries + share.gathers
        let signals = plan.registry.signals.count
        var texts = TextTable()
        for signal in plan.registry.signals { texts.addName(signal.name.description) }
        for module in plan.modules { texts.addExtra(module.name) }
        for signal in plan.registry.signals {
            if let unit = signal.unit, !unit.isEmpty { texts.addExtra(unit) }
            if let summary = signal.summary, !summary.isEmpty { texts.addExtra(summary) }
        }
        var end = Int(HERMES_DIRECTORY_OFFSET)
        func place(_ count: Int, _ size: Int, alignment: Int = 64) -> Int {
            let start = (end + alignment - 1) / alignment * alignment
            end = start + count * size
            return start
        }
        _ = place(signals, MemoryLayout<hermes_directory_entry>.size)
        strings = place(texts.bytes.count, 1, alignment: 4)
        // What only the node writes, what modules write too, and so on in turn, on pages of their own: modules map the former
        // to be read alone.
        data = place(signals + share.mirrorCount, 8, alignment: Self.page)
        control = place(1, MemoryLayout<hermes_control>.stride)
        modules = place(plan.modules.count, MemoryLayout<hermes_module_slot>.stride)
        phases = place(plan.phases.count, MemoryLayout<hermes_phase>.stride)
        phaseList = place(plan.modules.count, 4, alignment: Self.page)
        extras = place(signals, MemoryLayout<hermes_signal_extra>.stride)
        deliveries = place(everyDelivery.count, MemoryLayout<hermes_delivery>.stride)
        runs = place(everyDelivery.reduce(0) { $0 + $1.runs.count }, MemoryLayout<hermes_wire_run>.stride)
        copies = place(everyDelivery.reduce(0) { $0 + $1.copies.count }, MemoryLayout<hermes_wire_copy>.stride)
        converts = place(
            everyDelivery.reduce(0) { $0 + $1.conversions.count }, MemoryLayout<hermes_wire_convert>.stride)
        stage = place(everyDelivery.map(\.stageCount).max() ?? 0, 8, alignment: Self.page)
        // Room for every signal twice, so one call can set everything while another waits.
        var capacity = 4096
        while capacity < 2 * signals { capacity *= 2 }
        queueCapacity = capacity
        queue = place(capacity, MemoryLayout<hermes_queue_entry>.stride)
        snapshot = place(signals, 8, alignment: Self.page)
        _ = place(0, 1, alignment: Self.page)
        total = end
        self.texts = texts
        guard total <= Int(UInt32.max) else {
            throw SegmentError(
                "\(signals) signals make a segment of \(total) bytes, beyond the \(UInt32.max) its offsets reach; "
                    + "spread the modules over more hosts")
        }
    }
}

/// Zero-ended strings one behind the other: the qualified names, then everything else.
struct TextTable {
    private(set) var bytes: [UInt8] = []
    private(set) var nameOffsets: [Int] = []
    private var offsets: [ByteString: Int] = [:]

    mutating func addName(_ name: String) { nameOffsets.append(append(name)) }

    mutating func addExtra(_ text: String) {
        if offsets[text.bytes] == nil { offsets[text.bytes] = append(text) }
    }

    func offset(of text: String) -> Int { offsets[text.bytes] ?? 0 }

    private mutating func append(_ text: String) -> Int {
        let offset = bytes.count
        bytes += text.utf8
        bytes.append(0)
        return offset
    }
}

/// A segment that can't be made or opened: one sentence that says what to do.
public struct SegmentError: Error, CustomStringConvertible, Sendable {
    public var description: String
    init(_ description: String) { self.description = description }
}
