import HermesProtocol
import HermesTransport

// Steps of the coordinator, and the dones that answer them.

extension RunService {
    /// Runs the frames a step grants, then says done.
    func run(_ step: FrameHeader) throws {
        guard let node, stage == .staged, step.epoch == node.epoch else { return }
        node.times?.message(.stepMessage, frame: step.frame, count: Int(step.count))
        let width = collected.count, count = Int(step.count)
        guard step.frame == node.completedFrame + 1, (1...FrameHeader.mostGranted).contains(count),
            width * count * 8 <= Int(RunLink.longestMessage) - FrameHeader.size
        else {
            throw RunFailure(
                .protocolError, frame: node.completedFrame,
                cause: "was told to step \(count) frames from \(step.frame) on")
        }
        if rows.count < width * count { rows = [UInt64](repeating: 0, count: width * count) }
        var completed = 0
        // Also when it fails: frames that every host has completed are not lost.
        defer {
            rows.withUnsafeBytes { bytes in
                let values = UnsafeRawBufferPointer(rebasing: bytes[..<(width * completed * 8)])
                try? send(done: step.frame + UInt64(completed) - 1, count: completed, values)
            }
        }
        for index in 0..<count {
            frameUnderWay = step.frame + UInt64(index)
            // What is set from outside waits for an edge that no host has been granted yet.
            try node.step(
                frame: step.frame + UInt64(index), appliesWrites: index == 0 && step.phase != FrameHeader.held)
            let slots = node.slots
            for (column, slot) in collected.enumerated() { rows[index * width + column] = slots[slot] }
            completed += 1
            if node.attention != attentionSeen { try attend() }
        }
        frameUnderWay = nil
    }

    /// The values before the first frame.
    func sendStart() throws {
        let slots = node!.slots
        let values = collected.map { slots[$0] }
        try values.withUnsafeBytes { try send(done: 0, count: 1, $0) }
    }

    func send(done frame: UInt64, count: Int, _ values: UnsafeRawBufferPointer) throws {
        let phase = node!.hasWritesWaiting ? FrameHeader.held : 0
        try link.send(
            FrameHeader(.done, run: link.run, epoch: node!.epoch, frame: frame, phase: phase, count: count),
            to: Self.coordinator, payload: values)
        node!.times?.message(.doneMessage, frame: frame, count: count)
    }

    /// Somebody on this host wants values, or a module was lost between frames.
    func attend() throws {
        guard isPrepared, let node, node.attention != attentionSeen else { return }
        attentionSeen = node.attention
        try node.atEdge()
    }
}
