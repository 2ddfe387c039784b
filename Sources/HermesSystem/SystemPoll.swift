import Glibc

/// Waits until one of the descriptors is ready, at most `milliseconds` (-1: for ever). The results are in `revents`.
/// - Returns: how many are ready; 0 after the time, or when a signal came, and nothing is ready then.
/// - Throws: `SystemError` when it can't wait at all; a loop around it would spin.
@discardableResult
public func pollDescriptors(_ watched: inout [pollfd], milliseconds: Int32) throws(SystemError) -> Int {
    // A shortage of memory may pass.
    for _ in 0..<200 {
        let count = poll(&watched, nfds_t(watched.count), milliseconds)
        if count >= 0 { return Int(count) }
        for index in watched.indices { watched[index].revents = 0 }
        if errno == EINTR || errno == EAGAIN { return 0 }
        guard errno == ENOMEM else { break }
        usleep(10_000)
    }
    throw SystemError("can't wait for \(watched.count) descriptors")
}
