import CLinux

/// From now on SIGINT, SIGTERM and SIGHUP are bytes in a pipe.
/// - Returns: its read end.
/// - Throws: `SystemError` when no descriptors are left.
public func receiveSignals() throws(SystemError) -> Int32 {
    let descriptor = linux_signal_pipe()
    guard descriptor >= 0 else { throw SystemError("can't make a pipe for signals") }
    return descriptor
}
