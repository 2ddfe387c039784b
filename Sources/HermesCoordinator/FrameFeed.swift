import Glibc
import HermesSystem
import Synchronization

/// A frame that every module and every observer is done with.
public struct CompletedFrame: Sendable, Equatable {
    /// Resets so far.
    public var epoch: UInt32
    public var frame: UInt64
    /// Seconds of simulation time.
    public var time: Double
}

/// Completed frames for readers of any speed, from a thread of its own. The thread that runs the frames knows nothing of
/// readers: it stores its count in `RunProgress`, and posts a semaphore when this thread sleeps.
final class FrameFeed: @unchecked Sendable {
    private struct Reader {
        let number: Int
        let continuation: AsyncStream<CompletedFrame>.Continuation
        let buffering: Int
        var told: RunProgress.Position
    }
    private struct State {
        var readers: [Reader] = []
        var next = 0
        var isRunning = false
        var isOver = false
        var thread: pthread_t?
    }
    private let progress: RunProgress
    private let rateHz: Double
    private let state = Mutex(State())

    init(progress: RunProgress, rateHz: Double) {
        self.progress = progress
        self.rateHz = rateHz
    }

    deinit { finishReaders() }

    /// - Throws: `SystemError` when no thread is to be had for it.
    func frames(buffering: Int) throws(SystemError) -> AsyncStream<CompletedFrame> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: CompletedFrame.self, bufferingPolicy: .bufferingNewest(buffering))
        let number = state.withLock { state -> Int? in
            guard !state.isOver else { return nil }
            defer { state.next += 1 }
            state.readers.append(
                Reader(
                    number: state.next, continuation: continuation, buffering: max(buffering, 0),
                    told: progress.position))
            return state.next
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in state.readers.removeAll { $0.number == number } }
        }
        try startThreadIfWanted()
        return stream
    }

    /// - Throws: `SystemError` when there are readers and no thread for them.
    func begin() throws(SystemError) {
        state.withLock { $0.isRunning = true }
        try startThreadIfWanted()
    }

    /// No frame follows: readers have got what is left, and the end, when this returns.
    func end() {
        let thread = state.withLock { state in
            state.isOver = true
            return state.thread
        }
        guard let thread else { return finishReaders() }
        progress.wake()
        pthread_join(thread, nil)
    }

    private func startThreadIfWanted() throws(SystemError) {
        try state.withLock { state throws(SystemError) in
            guard state.isRunning, !state.isOver, state.thread == nil, !state.readers.isEmpty else { return }
            state.thread = try startThread("readers of frames") { [self] in run() }
        }
        progress.wake()
    }

    private func run() {
        while true {
            // Asked before the position: a frame that came before the end is told before the end.
            let isOver = state.withLock { $0.isOver }
            let position = progress.position
            let hasReaders = tell(position)
            if isOver { return finishReaders() }
            if hasReaders { progress.sleep(seen: position) } else { progress.sleep() }
        }
    }

    /// False when nobody reads.
    private func tell(_ position: RunProgress.Position) -> Bool {
        let readers = state.withLock { state in
            defer { for index in state.readers.indices { state.readers[index].told = position } }
            return state.readers
        }
        for reader in readers {
            for (epoch, frames) in Self.news(from: reader.told, to: position) {
                for frame in frames.suffix(reader.buffering) {
                    reader.continuation.yield(CompletedFrame(epoch: epoch, frame: frame, time: Double(frame) / rateHz))
                }
            }
        }
        return !readers.isEmpty
    }

    /// The frames between two positions; of epochs that came and went in between nobody knows the length.
    static func news(
        from told: RunProgress.Position, to position: RunProgress.Position
    ) -> [(epoch: UInt32, frames: Range<UInt64>)] {
        if position.epoch == told.epoch { return [(position.epoch, told.count..<max(told.count, position.count))] }
        let isNext = position.epoch == told.epoch &+ 1
        let rest = isNext ? told.count..<max(told.count, position.earlierCount) : 0..<0
        return [(told.epoch, rest), (position.epoch, 0..<position.count)]
    }

    private func finishReaders() {
        let readers = state.withLock { state in
            defer { state.readers = [] }
            return state.readers
        }
        for reader in readers { reader.continuation.finish() }
    }
}
