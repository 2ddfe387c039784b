import CHermes
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

/// A module inside the node: the same C functions as in a process of its own, called straight.
final class InprocModule {
    let module: Module
    private let context: OpaquePointer
    private let index: Int
    private let watch: InprocWatch
    private var calls: UInt64 = 0

    /// Loads the shared object and makes the module.
    init(_ module: Module, index: Int, simulationName: String, watch: InprocWatch) throws {
        self.module = module
        self.index = index
        self.watch = watch
        watch.enterStart(index, 0)
        defer { watch.leave() }
        func failed(_ cause: String) -> RunFailure { RunFailure(.launch, module: module.name, cause: cause) }
        guard let library = hermes_inproc_open(module.program.cString) else {
            let words = String(cString: hermes_last_error()), program = module.program
            throw failed(
                "can't be loaded: \(words)"
                    + (ProgramFile.isOnNoexec(program) ? "; \(ProgramFile.noexecWords(program))" : ""))
        }
        guard let create = dlsym(library, "hermes_module_create"), let destroy = dlsym(library, "hermes_module_destroy")
        else {
            throw failed("\(module.program) defines no hermes_module_create and hermes_module_destroy")
        }
        typealias Create = @convention(c) () -> UnsafeMutablePointer<hermes_module_t>?
        typealias Destroy = @convention(c) (UnsafeMutablePointer<hermes_module_t>?) -> Void
        guard
            let context = hermes_context_create(
                module.name, module.configuration?.cString, RunFolder.segmentName(of: simulationName),
                unsafeBitCast(create, to: Create.self), unsafeBitCast(destroy, to: Destroy.self))
        else { throw failed(String(cString: hermes_last_error())) }
        self.context = context
    }

    deinit { hermes_context_destroy(context) }

    var announcement: [UInt8] {
        var size = 0
        guard let bytes = hermes_context_announcement(context, &size) else { return [] }
        return Array(UnsafeBufferPointer(start: bytes, count: size))
    }

    func bind(_ view: UnsafeMutablePointer<hermes_view>, index: Int) -> Int32 {
        hermes_context_bind(context, view, UInt32(index))
    }
    func initialise() -> Int32 { watchedStart { hermes_context_init(context) } }
    func stage() -> Int32 { watchedStart { hermes_context_stage(context) } }
    func step() -> Int32 { watched { hermes_context_step(context) } }
    func reset() -> Int32 { watchedStart { hermes_context_reset(context) } }
    func terminate() -> Int32 { watched { hermes_context_terminate(context) } }

    private func watchedStart(_ call: () -> Int32) -> Int32 {
        calls += 1
        watch.enterStart(index, calls)
        defer { watch.leave() }
        return call()
    }

    @inline(__always) private func watched(_ call: () -> Int32) -> Int32 {
        calls += 1
        watch.enter(index, calls)
        defer { watch.leave() }
        return call()
    }

    var reason: String { String(cString: hermes_context_failure(context)) }
}
