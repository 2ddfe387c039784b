import HermesPlan
import HermesProtocol

/// A node in the coordinator's own process that mirrors signals with other hosts.
public protocol LinkedNode: NodeSession {
    /// `prepare` with only this host's share; `link` leads to the others.
    func prepare(_ share: HostShare, link: RunLink?) throws
}
