import HermesPlan

/// Somebody who sees every completed frame on the thread that runs them: no allocation, no lock, no wait but where said.
public protocol FrameObserver: AnyObject {
    /// The signals it reads, by index in the registry; of others `completed` may be shown anything when they live on other
    /// hosts.
    func signals(of plan: Plan) -> [Int]
    /// An epoch begins; its frame 0 follows. Not in the frame path: files are opened and memory is taken here.
    /// - Throws: `RunFailure`.
    func begin(_ plan: Plan, epoch: UInt32, isRealtime: Bool) throws
    /// - Parameter slots: every signal in registry order, valid during the call.
    /// - Throws: `RunFailure` to end the run.
    func completed(frame: UInt64, time: Double, slots: UnsafePointer<UInt64>) throws
    /// The mode changed mid-run.
    func modeChanged(isRealtime: Bool)
    /// No more frames; what is still held is written.
    /// - Throws: `RunFailure` when something of it is lost.
    func finish() throws
    /// Gives up whatever it waits for: the call under way throws soon. From any thread.
    func abandon()
}

extension FrameObserver {
    public func signals(of plan: Plan) -> [Int] { plan.registry.publishedInOrder }
    public func abandon() {}
}
