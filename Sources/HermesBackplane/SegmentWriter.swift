import CHermes
import Glibc
import HermesPlan
import Synchronization

/// Fills the memory of a new segment from its plan.
struct SegmentWriter {
    let base: UnsafeMutablePointer<UInt8>
    let layout: SegmentLayout

    /// Phases with more modules than this are woken by one broadcast; with fewer, a wake-up for each is quicker.
    static let broadcastAbove = 4

    func write(_ share: HostShare, run: UInt64) {
        let plan = share.plan
        writeDirectory(plan)
        writeControl(plan, run: run)
        at(layout.control, hermes_control.self).pointee.gathers = share.gathers.isEmpty ? 0 : 1
        at(layout.control, hermes_control.self).pointee.mirror_count = UInt32(share.mirrorCount)
        writeModules(share)
        writeDeliveries(plan.deliveries + share.gathers)
        at(0, hermes_header.self).pointee = hermes_header(
            magic: 0, version: UInt32(HERMES_SEGMENT_VERSION), frame: 0, time: 0,
            signal_count: UInt32(plan.registry.signals.count), extension_version: UInt32(HERMES_EXTENSION_VERSION),
            total_size: UInt64(layout.total), control_offset: UInt64(layout.control), data_offset: UInt64(layout.data),
            reserved: 0)
        // Whoever looks meanwhile sees no segment of another version, but none yet.
        atomicMemoryFence(ordering: .releasing)
        at(0, hermes_header.self).pointee.magic = HERMES_SEGMENT_MAGIC
    }

    private func at<T>(_ offset: Int, _: T.Type) -> UnsafeMutablePointer<T> {
        UnsafeMutableRawPointer(base + offset).assumingMemoryBound(to: T.self)
    }

    private func textOffset(_ text: String?) -> UInt32 {
        guard let text, !text.isEmpty else { return 0 }
        return UInt32(layout.strings + layout.texts.offset(of: text))
    }

    private func writeDirectory(_ plan: Plan) {
        let directory = at(Int(HERMES_DIRECTORY_OFFSET), hermes_directory_entry.self)
        let extras = at(layout.extras, hermes_signal_extra.self)
        for (slot, signal) in plan.registry.signals.enumerated() {
            let flags =
                (signal.isWritable ? HERMES_SIGNAL_WRITABLE : 0) | (signal.isPublished ? HERMES_SIGNAL_PUBLISHED : 0)
            directory[slot] = hermes_directory_entry(
                name_offset: UInt32(layout.strings + layout.texts.nameOffsets[slot]),
                data_offset: UInt32(layout.data + slot * 8), data_type: signal.type.rawValue, flags: UInt8(flags),
                zero: 0)
            var bits = signal.isWired ? HERMES_EXTRA_WIRED : 0
            if signal.direction == .output || signal.direction == .both { bits |= HERMES_EXTRA_OUTPUT }
            if signal.direction == .input || signal.direction == .both { bits |= HERMES_EXTRA_INPUT }
            extras[slot] = hermes_signal_extra(
                module: UInt32(signal.module), bits: UInt32(bits), unit_offset: textOffset(signal.unit),
                description_offset: textOffset(signal.summary))
        }
        layout.texts.bytes.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress { memcpy(base + layout.strings, start, bytes.count) }
        }
    }

    private func writeControl(_ plan: Plan, run: UInt64) {
        let control = at(layout.control, hermes_control.self)
        control.pointee.run = run
        control.pointee.rate_hz = plan.rateHz
        control.pointee.module_count = UInt32(plan.modules.count)
        control.pointee.phase_count = UInt32(plan.phases.count)
        control.pointee.modules_offset = UInt64(layout.modules)
        control.pointee.phases_offset = UInt64(layout.phases)
        control.pointee.phase_list_offset = UInt64(layout.phaseList)
        control.pointee.extras_offset = UInt64(layout.extras)
        control.pointee.deliveries_offset = UInt64(layout.deliveries)
        control.pointee.runs_offset = UInt64(layout.runs)
        control.pointee.copies_offset = UInt64(layout.copies)
        control.pointee.converts_offset = UInt64(layout.converts)
        control.pointee.stage_offset = UInt64(layout.stage)
        control.pointee.queue_offset = UInt64(layout.queue)
        control.pointee.snapshot_offset = UInt64(layout.snapshot)
        control.pointee.queue_capacity = UInt32(layout.queueCapacity)
        control.pointee.owner = UInt32(getpid())
        control.pointee.state = UInt32(HERMES_STATE_STAGING)
        control.pointee.wait_target = .max
        let queue = at(layout.queue, hermes_queue_entry.self)
        for entry in 0..<layout.queueCapacity { queue[entry].slot = UInt32.max }
    }

    private func writeModules(_ share: HostShare) {
        let plan = share.plan
        let modules = at(layout.modules, hermes_module_slot.self)
        for (index, module) in plan.modules.enumerated() {
            let kind = module.isFree ? HERMES_KIND_FREE : module.isInproc ? HERMES_KIND_INPROC : HERMES_KIND_PROCESS
            modules[index].phase = UInt32(module.phase)
            modules[index].divisor = UInt32(module.divisor)
            modules[index].dt = module.dt
            modules[index].kind = UInt32(kind)
            modules[index].first_signal = UInt32(module.firstSignal)
            modules[index].signal_count = UInt32(module.signalCount)
            modules[index].name_offset = textOffset(module.name)
        }
        let phases = at(layout.phases, hermes_phase.self)
        let list = at(layout.phaseList, UInt32.self)
        var next = 0
        for (index, members) in plan.phases.enumerated() {
            let processes = members.count { !plan.modules[$0].isInproc && !plan.modules[$0].isFree }
            var flags = processes > Self.broadcastAbove ? HERMES_PHASE_BROADCAST : 0
            if members.contains(where: { plan.modules[$0].isInproc }) { flags |= HERMES_PHASE_NODE_WORK }
            if share.hasExchange(phase: index) { flags |= HERMES_PHASE_EXCHANGE }
            phases[index].flags = UInt32(flags)
            phases[index].module_begin = UInt32(next)
            phases[index].module_count = UInt32(members.count)
            for member in members {
                list[next] = UInt32(member)
                next += 1
            }
        }
    }

    private func writeDeliveries(_ all: [Delivery]) {
        let deliveries = at(layout.deliveries, hermes_delivery.self)
        let runs = at(layout.runs, hermes_wire_run.self)
        let copies = at(layout.copies, hermes_wire_copy.self)
        let converts = at(layout.converts, hermes_wire_convert.self)
        var run = 0, copy = 0, convert = 0
        for (index, delivery) in all.enumerated() {
            deliveries[index] = hermes_delivery(
                run_begin: UInt32(run), run_count: UInt32(delivery.runs.count), copy_begin: UInt32(copy),
                copy_count: UInt32(delivery.copies.count), convert_begin: UInt32(convert),
                convert_count: UInt32(delivery.conversions.count), staged: delivery.isStaged ? 1 : 0, zero: 0)
            for each in delivery.runs {
                runs[run] = hermes_wire_run(
                    source: UInt32(each.source), destination: UInt32(each.destination), count: UInt32(each.count))
                run += 1
            }
            for each in delivery.copies {
                copies[copy] = hermes_wire_copy(source: UInt32(each.source), destination: UInt32(each.destination))
                copy += 1
            }
            for each in delivery.conversions {
                converts[convert] = hermes_wire_convert(
                    source: UInt32(each.source), destination: UInt32(each.destination),
                    source_type: each.sourceType.rawValue, destination_type: each.destinationType.rawValue,
                    zero: (0, 0, 0, 0, 0, 0), gain: each.gain, offset: each.offset)
                convert += 1
            }
        }
    }
}
