import Glibc
import HermesProtocol
import HermesSystem

/// Tells systemd how the service is: sd_notify(3)'s protocol, a datagram to the socket in NOTIFY_SOCKET. Elsewhere it says
/// nothing.
final class ServiceNotifier {
    private let path: ByteString?
    /// Half of what systemd asks for.
    let watchdogMilliseconds: Int?
    private var lastFed: UInt64 = 0

    init() {
        path = getenv("NOTIFY_SOCKET").map { ByteString(cString: $0) }
        let microseconds = getenv("WATCHDOG_USEC").flatMap { Int(String(cString: $0)) }
        let isMeant = getenv("WATCHDOG_PID").map { String(cString: $0) == "\(getpid())" } ?? true
        watchdogMilliseconds = isMeant ? microseconds.map { max($0 / 2000, 1) } : nil
    }

    /// Called by the loop that must not hang, whenever it comes round.
    func feedWatchdog() {
        guard let watchdogMilliseconds else { return }
        let now = monotonicNow()
        guard now - lastFed >= UInt64(watchdogMilliseconds) * 900_000 else { return }
        lastFed = now
        tell("WATCHDOG=1")
    }

    func tell(_ text: String) {
        guard let path, path.count < 108, path.isAbsolutePath || path.hasPrefix("@") else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { room in
            room.copyBytes(from: path.bytes)
            if path.hasPrefix("@") { room[0] = 0 }
        }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, size)
            }
        }
    }
}
