import HermesProtocol
import HermesTransport

// What outsiders see and set of this host, asked by the coordinator between frames.

extension RunService {
    func answer(sample header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws {
        try checkOrder("sample")
        guard let slots = ValueBytes.sampled(payload, count: header.count, below: node!.signalCount) else {
            throw unknown("was asked for")
        }
        let order = try sample(slots)
        try link.send(
            FrameHeader(.values, run: link.run, epoch: node!.epoch, frame: header.frame, count: slots.count),
            to: Self.coordinator, words: order.bits)
    }

    func take(write header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws {
        try checkOrder("write")
        guard let values = ValueBytes.written(payload, count: header.count, below: node!.signalCount) else {
            throw unknown("was given")
        }
        try write(values.slots, values.bits)
    }

    func sample(_ slots: [Int]) throws -> ValueOrder {
        guard slots.allSatisfy((0..<node!.signalCount).contains) else { throw unknown("was asked for") }
        let order = ValueOrder(slots, writing: nil)
        node!.sample(order) { _ in }
        return order
    }

    func write(_ slots: [Int], _ bits: [UInt64]) throws {
        guard slots.count == bits.count, slots.allSatisfy((0..<node!.signalCount).contains) else {
            throw unknown("was given")
        }
        node!.write(ValueOrder(slots, writing: bits))
    }

    private func unknown(_ what: String) -> RunFailure {
        RunFailure(.protocolError, cause: "\(what) values of signals that are not there")
    }
}
