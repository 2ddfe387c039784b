import CHermes
import Glibc

/// Between the C functions of a module and one Swift instance: this process's module.
///
/// All calls come on one thread, but for `terminate` when the module hangs in a call. The lock makes that case safe: whoever
/// has it may touch the instance.
public final class ModuleProcess: @unchecked Sendable {
    private let type: any Module.Type
    private let lock = TimedLock()
    private let functions = UnsafeMutablePointer<hermes_module_t>.allocate(capacity: 1)
    // Guarded by the lock.
    private var module: (any Module)?
    private var signals: [AnySignal] = []
    private var saved: [UInt8]?

    /// How long terminate waits for another method to return before it counts as hanging. The node grants one second.
    private static let hangsAfterMilliseconds = 200

    // Set before the first callback, never changed after.
    nonisolated(unsafe) private static var current: ModuleProcess!

    /// Runs `type` as this process's module, until the simulation ends; then exits the process.
    public static func run(_ type: any Module.Type) -> Never {
        precondition(current == nil, "a process is one module")
        current = ModuleProcess(type)
        exit(hermes_module_run({ ModuleProcess.current.create() }, { _ in ModuleProcess.current.destroy() }))
    }

    private init(_ type: any Module.Type) {
        self.type = type
        functions.initialize(
            to: hermes_module_t(
                init: { path, _ in
                    let configuration = path.map { String(cString: $0) }
                    return ModuleProcess.current.call { try $0.start(configuration: configuration) }
                },
                stage: { ModuleProcess.current.call { try $0.stage() } },
                step: { dt in ModuleProcess.current.call { try $0.step(dt: dt) } },
                reset: { ModuleProcess.current.reset() },
                terminate: { ModuleProcess.current.terminate() },
                get_signal: nil, set_signal: nil, list_signals: nil))
    }

    // MARK: Made and unmade

    private func create() -> UnsafeMutablePointer<hermes_module_t>? {
        lock.lock()
        defer { lock.unlock() }
        let status = guarded {
            let made = try type.init()
            module = made
            signals = try Self.signals(of: made)
            for signal in signals { try Self.declare(signal) }
            if made is any StatefulModule {
                hermes_provide_state(
                    { buffer, capacity in ModuleProcess.current.save(into: buffer, capacity: capacity) },
                    { bytes, size in
                        let state = [UInt8](UnsafeRawBufferPointer(start: bytes, count: size))
                        return ModuleProcess.current.call { try ($0 as! any StatefulModule).load(state) }
                    })
            }
        }
        return status == 0 ? functions : nil
    }

    private func destroy() {
        lock.lock()
        defer { lock.unlock() }
        module = nil
    }

    /// The properties that are signals, those of superclasses first; then `moreSignals`.
    private static func signals(of module: any Module) throws -> [AnySignal] {
        var levels: [Mirror] = []
        var level: Mirror? = Mirror(reflecting: module)
        while let mirror = level {
            levels.append(mirror)
            level = mirror.superclassMirror
        }
        var found: [AnySignal] = []
        for child in levels.reversed().flatMap(\.children) {
            guard let signal = child.value as? AnySignal else { continue }
            if signal.name == nil, let label = child.label {
                signal.name = label.hasPrefix("_") ? String(label.dropFirst()) : label
            }
            found.append(signal)
        }
        for signal in module.moreSignals where !found.contains(where: { $0 === signal }) {
            guard signal.name != nil else { throw ModuleFailure("a signal in moreSignals has no name") }
            found.append(signal)
        }
        return found
    }

    private static func declare(_ signal: AnySignal) throws {
        let flags = UInt32(signal.options.rawValue)
        let status = (signal.name ?? "").withCString { name in
            withOptionalCString(signal.unit) { unit in
                withOptionalCString(signal.summary) { summary in
                    var declaration = hermes_signal_t(
                        name: name, type: hermes_type_t(signal.type.rawValue), flags: flags, unit: unit,
                        description: summary, storage: signal.cell.storage)
                    return hermes_declare(&declaration)
                }
            }
        }
        if status != 0 { throw ModuleFailure(String(cString: hermes_last_error())) }
    }

    // MARK: Calls

    private func call(_ work: (any Module) throws -> Void) -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        return guarded {
            guard let module else { throw ModuleFailure("the module was not created") }
            try work(module)
        }
    }

    private func reset() -> Int32 {
        call { module in
            for signal in signals { signal.restoreDefault() }
            try module.reset()
        }
    }

    private func terminate() {
        guard lock.lock(withinMilliseconds: Self.hangsAfterMilliseconds) else {
            _ = guarded { try type.safeState() }
            return
        }
        defer { lock.unlock() }
        _ = guarded { try module?.terminate() }
    }

    private func save(into buffer: UnsafeMutableRawPointer?, capacity: Int) -> Int {
        var size = Int(bitPattern: UInt.max)
        _ = call { module in
            // libhermes asks for the size first: what answers that question is what it then gets.
            let state = try capacity > 0 && saved != nil ? saved! : (module as! any StatefulModule).save()
            size = state.count
            if let buffer, state.count <= capacity {
                state.withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(start: buffer, count: capacity).copyMemory(from: $0)
                }
                saved = nil
            } else {
                saved = state
            }
        }
        return size
    }

    /// Runs one method: 0, or the status of its error, with the reason left for the report.
    private func guarded(_ work: () throws -> Void) -> Int32 {
        do {
            try work()
            return 0
        } catch {
            hermes_fail_text("\(error)")
            return (error as? ModuleFailure)?.status ?? 1
        }
    }
}

/// A mutex that can give up.
private struct TimedLock {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() {
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    func lock() {
        pthread_mutex_lock(mutex)
    }

    func unlock() {
        pthread_mutex_unlock(mutex)
    }

    /// False when it was not to be had in that time.
    func lock(withinMilliseconds milliseconds: Int) -> Bool {
        for _ in 0..<max(milliseconds / 5, 1) {
            if pthread_mutex_trylock(mutex) == 0 { return true }
            usleep(5000)
        }
        return pthread_mutex_trylock(mutex) == 0
    }
}

private func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
}
