import Glibc

/// Runs a closure on a thread of its own; the only way Hermes starts one.
/// - Parameter work: what the thread is for, for the error: "the recording".
/// - Throws: `SystemError` when the system gives no thread; then `body` is never called.
public func startThread(_ work: String, _ body: @escaping () -> Void) throws(SystemError) -> pthread_t {
    final class Box {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    let code = pthread_create(
        &thread, nil,
        { box in
            Unmanaged<Box>.fromOpaque(box!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    guard code == 0 else {
        box.release()
        throw SystemError(starting: "a thread for \(work)", code: code)
    }
    return thread
}

/// The same for a thread that is never joined.
public func startDetachedThread(_ work: String, _ body: @escaping () -> Void) throws(SystemError) {
    pthread_detach(try startThread(work, body))
}
