import HermesModel
import HermesSystem

/// Endpoints, keys and mirror addresses of hosts, and the telemetry server's address.
struct HostCheck {
    let findings: Findings

    func check(_ draft: SimulationDraft) {
        for host in draft.hosts { check(host) }
        checkEndpointsDiffer(draft.hosts)
        check(draft.server)
    }

    /// One node is one host: two names for it would make it two hosts of a run, which look for each other.
    private func checkEndpointsDiffer(_ hosts: [HostDraft]) {
        var first: [ByteString: String] = [:]
        for host in hosts {
            // One that is wrong anyhow may have been meant otherwise.
            if host.hasKey && host.key.map({ !PublicKey.isKey($0.value) }) ?? true { continue }
            guard let endpoint = host.endpoint, let place = try? Endpoint(endpoint.value).place else { continue }
            if let other = first[place] {
                findings.error(
                    endpoint.mark,
                    "host \(quoted(host.name.value)) has the endpoint of host \(quoted(other)); a node is one host: give it an endpoint "
                        + "of its own, or place its modules on \(quoted(other))")
            } else {
                first[place] = host.name.value
            }
        }
    }

    private func check(_ host: HostDraft) {
        if let endpoint = host.endpoint {
            do throws(Endpoint.Fault) {
                if try !Endpoint(endpoint.value).isLocal, !host.hasKey {
                    findings.error(
                        endpoint.mark,
                        "host \(quoted(host.name.value)) is off loopback and has no `key`; write the public key that `hermes keygen` made on it"
                    )
                }
            } catch {
                findings.error(endpoint.mark, error.message)
            }
        }
        if let key = host.key {
            if !PublicKey.isKey(key.value) {
                findings.error(
                    key.mark, "`key` must be a public key of 40 Z85 characters, the line in the node's .pub file")
            } else if !PublicKey.canBePublic(key.value) {
                findings.error(
                    key.mark,
                    "`key` is no public key; if it is the node's secret one, make the node another with `hermes keygen`, for "
                        + "this one has been shown, and write the line of its .pub file here")
            }
        }
        if let mirror = host.mirror {
            do throws(Endpoint.Fault) {
                if case .ipc = try Endpoint(mirror.value, portIsOptional: true) {
                    findings.error(mirror.mark, "`mirror` must be a `tcp://` address that the other hosts reach")
                }
            } catch {
                findings.error(mirror.mark, error.message)
            }
        }
    }

    private func check(_ server: ServerDraft) {
        if let port = server.port, !Endpoint.ports.contains(port.value) {
            findings.error(port.mark, "`port` must be 1 to 65535, not `\(port.value)`")
        }
        if let host = server.host, !Address.isPlausible(host.value), !Address.isIPv6(host.value) {
            findings.error(host.mark, "\(quoted(host.value)) is no address or host name")
        }
    }
}
