import HermesProtocol
import HermesTiming

/// Where the time of the coordinator's turns goes. A turn is what it does for one advance: commands, the hosts' frames, and
/// whoever is shown them. A few nanoseconds a turn; all memory is taken at the start.
struct TurnTimes {
    struct Detail {
        var epoch: UInt32
        /// The last frame of the turn.
        var frame: UInt64
        /// Nanoseconds of that frame with all that the coordinator took for itself.
        var time: UInt64
        /// The first frame that no host had been granted meanwhile: whoever came to it waited.
        var next: UInt64
    }

    /// A turn's time and what of it was not the hosts', by frame: frames that were granted together share alike.
    private(set) var frame = DurationRecorder(), coordinator = DurationRecorder()
    /// Turns by what the coordinator took for itself.
    private(set) var slowest = SlowestFrames<Detail>()

    /// CLOCK_MONOTONIC nanoseconds each.
    /// - Parameters:
    ///   - began: when the turn could begin; in realtime when the frame did.
    ///   - advancing: when the hosts were asked for the frames.
    ///   - advanced: when they had completed them.
    ///   - count: how many frames that were.
    ///   - granted: the last frame that some host has been told to run.
    mutating func record(
        began: UInt64, advancing: UInt64, advanced: UInt64, ended: UInt64, last: UInt64, count: UInt64,
        granted: UInt64, epoch: UInt32
    ) {
        guard count > 0 else { return }
        let whole = ended - began, own = advancing - began + (ended - advanced)
        frame.record(whole / count, count: count)
        coordinator.record(own / count, count: count)
        guard own > slowest.bound else { return }
        slowest.keep(own, Detail(epoch: epoch, frame: last, time: own + (whole - own) / count, next: granted + 1))
    }
}
