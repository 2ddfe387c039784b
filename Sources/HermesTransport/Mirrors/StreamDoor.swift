import Glibc
import HermesProtocol

/// Where the other hosts of one run knock for their mirror streams: a TCP port, a socket file, or both.
public final class StreamDoor {
    public private(set) var port: Int?
    public private(set) var path: String?
    /// Descriptor, and whether only this machine gets there.
    private(set) var listeners: [(descriptor: Int32, isLocal: Bool)] = []

    public init() {}

    deinit { close() }

    /// - Parameters:
    ///   - addresses: numeric, or names; after the first, one that this machine does not have is passed over.
    /// - Throws: `TransportError` with EADDRINUSE when the port is taken at one of them.
    public func listen(addresses: [String], port: Int) throws {
        var opened: [Int32] = []
        for address in addresses {
            do {
                opened.append(try StreamAddress(host: address, port: port).listener())
            } catch let error as TransportError where error.code == EADDRNOTAVAIL && !opened.isEmpty {
                continue
            } catch {
                opened.forEach { Glibc.close($0) }
                throw error
            }
        }
        listeners += opened.map { ($0, false) }
        self.port = port
    }

    /// Others of this machine may not connect, whatever they guess. Without a path that fits there is none.
    public func listen(path: String) {
        let before = umask(0o177)
        defer { umask(before) }
        guard let address = StreamAddress(path: path), let listener = try? address.listener() else { return }
        listeners.append((listener, true))
        self.path = path
    }

    /// Nobody else comes in.
    public func close() {
        listeners.forEach { Glibc.close($0.descriptor) }
        listeners = []
        if let path { unlink(path) }
        path = nil
    }
}

/// A socket address, TCP or Unix.
struct StreamAddress {
    private var storage = sockaddr_storage()
    private var size: socklen_t = 0
    private let name: String
    var isLocal: Bool { storage.ss_family == sa_family_t(AF_UNIX) }

    init(host: String, port: Int) throws {
        name = "\(host):\(port)"
        if host == "*" {
            // Everywhere, IPv4 included.
            var everywhere = sockaddr_in6()
            everywhere.sin6_family = sa_family_t(AF_INET6)
            everywhere.sin6_port = in_port_t(UInt16(truncatingIfNeeded: port)).bigEndian
            size = socklen_t(MemoryLayout<sockaddr_in6>.size)
            memcpy(&storage, &everywhere, Int(size))
            return
        }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        let code = getaddrinfo(bare, "\(port)", &hints, &found)
        guard code == 0, let found else {
            throw TransportError("can't resolve \(name) (\(String(cString: gai_strerror(code))))", code: EADDRNOTAVAIL)
        }
        defer { freeaddrinfo(found) }
        size = found.pointee.ai_addrlen
        memcpy(&storage, found.pointee.ai_addr, Int(size))
    }

    /// `tcp://HOST:PORT`
    init(endpoint: String) throws {
        guard let parts = TCPEndpoint(endpoint), let port = parts.port else {
            throw TransportError(text: "'\(endpoint)' is no TCP endpoint")
        }
        try self.init(host: parts.host, port: port)
    }

    /// Nil for a path longer than a socket may have.
    init?(path: String) {
        name = path
        var address = sockaddr_un()
        let bytes = Array(path.utf8) + [0]
        guard bytes.count <= MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        size = socklen_t(MemoryLayout<sockaddr_un>.size)
        memcpy(&storage, &address, Int(size))
    }

    private func socket() throws -> Int32 {
        let descriptor = Glibc.socket(
            Int32(storage.ss_family), Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw TransportError("can't make a socket", code: errno) }
        return descriptor
    }

    private func with(_ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        withUnsafePointer(to: storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, size) }
        }
    }

    func listener() throws -> Int32 {
        let descriptor = try socket()
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var zero: Int32 = 0
        setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &zero, socklen_t(MemoryLayout<Int32>.size))
        guard with({ bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 128) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw TransportError("can't listen on \(name)", code: code)
        }
        return descriptor
    }

    /// A socket on its way to be connected, non-blocking; nil when nobody is there.
    func dial() -> Int32? {
        guard let descriptor = try? socket() else { return nil }
        if with({ connect(descriptor, $0, $1) }) == 0 || errno == EINPROGRESS { return descriptor }
        Glibc.close(descriptor)
        return nil
    }
}
