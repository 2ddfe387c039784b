import HermesPlan
import HermesProtocol

/// A node in the coordinator's own process that mirrors signals with other hosts.
public protocol LinkedNode: NodeSession {
    /// `prepare` with only this host's share; `mirrors` lead to the others.
    /// - Parameter longestStepSeconds: how long a step may take on any host; 0 for ever.
    func prepare(_ share: HostShare, mirrors: (any MirrorLink)?, longestStepSeconds: Double) throws
    /// Runs one frame.
    /// - Parameter appliesWrites: false within a run of granted frames: what is set from outside waits for an edge that no
    ///   host has been granted.
    func step(frame: UInt64, appliesWrites: Bool) throws
    /// Somebody has set values that no step has applied yet.
    var hasWritesWaiting: Bool { get }
}
