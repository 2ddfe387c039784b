import Glibc
import HermesSystem

/// The addresses behind a name: often several (IPv4 and IPv6, two networks), of which a node listens at one. ZeroMQ takes
/// the first and tries no other.
enum HostAddresses {
    /// Why a name has none, in the resolver's words.
    struct Unresolved: Error {
        var reason: String
    }

    /// The name in an endpoint; nil for an address in numbers and for `ipc://`.
    static func name(in endpoint: String) -> String? {
        guard let host = TCPEndpoint(endpoint)?.host, !host.hasPrefix("["), host != "*" else { return nil }
        var four = in_addr(), six = in6_addr()
        return inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1 ? nil : host
    }

    /// The endpoint once for each address of its name, in the resolver's order; may wait for name servers.
    static func endpoints(of endpoint: String) throws(Unresolved) -> [String] {
        guard let name = name(in: endpoint), let port = TCPEndpoint(endpoint)?.port else { return [endpoint] }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(name, "\(port)", &hints, &found)
        guard code == 0 else {
            let reason = code == EAI_SYSTEM ? SystemError.reason(errno) : String(cString: gai_strerror(code))
            throw Unresolved(reason: reason)
        }
        defer { freeaddrinfo(found) }
        var endpoints: [String] = []
        var next = found
        while let entry = next?.pointee {
            next = entry.ai_next
            var room = [CChar](repeating: 0, count: 128)
            guard
                getnameinfo(
                    entry.ai_addr, entry.ai_addrlen, &room, socklen_t(room.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let address = ByteString(cString: room).description
            let text = "tcp://" + (entry.ai_family == AF_INET6 ? "[\(address)]" : address) + ":\(port)"
            if !endpoints.contains(text) { endpoints.append(text) }
        }
        guard !endpoints.isEmpty else { throw Unresolved(reason: "it has no address") }
        return endpoints
    }

    /// How long an address may take to answer where others are left.
    private static let answerSeconds = 1.5

    /// The endpoint by an address of its name that takes a connection now; else by the first, and as it is where there is no
    /// name in it.
    static func answering(_ endpoint: String) -> String {
        guard let all = try? endpoints(of: endpoint), let first = all.first else { return endpoint }
        guard all.count > 1 else { return first }
        var tries = all.compactMap { text -> (endpoint: String, descriptor: Int32)? in
            guard let descriptor = (try? StreamAddress(endpoint: text))?.dial() else { return nil }
            return (text, descriptor)
        }
        defer { tries.forEach { close($0.descriptor) } }
        let limit = deadline(after: answerSeconds)
        while !tries.isEmpty, monotonicNow() < limit {
            var watched = tries.map { pollfd(fd: $0.descriptor, events: Int16(POLLOUT), revents: 0) }
            poll(&watched, nfds_t(watched.count), 50)
            for index in tries.indices.reversed() where watched[index].revents != 0 {
                var code: Int32 = 0
                var size = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(tries[index].descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
                if code == 0 && Int32(watched[index].revents) & POLLERR == 0 { return tries[index].endpoint }
                close(tries.remove(at: index).descriptor)
            }
        }
        return first
    }
}
