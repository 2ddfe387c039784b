import Glibc
import HermesProtocol

/// One connection for the mirrors between two hosts, both ways. Each record on it is a u32, little-endian: how many bytes
/// follow; then those, a frame header and values, sealed or plain.
///
/// Sends never block and receives do, until somebody shuts the connection down. All memory is set aside by `reserve`.
final class MirrorStream {
    enum Arrival { case some, nothing, closed }

    private static let lengthSize = 4
    /// Bytes that are asked of the kernel at once when records are small.
    private static let chunk = 64 << 10

    let descriptor: Int32
    private let sealing: StreamSeal?
    private let opening: StreamSeal?
    private var outgoing = UnsafeMutableRawBufferPointer.allocate(byteCount: 0, alignment: 16)
    private var outgoingBegin = 0, outgoingEnd = 0
    private var incoming = UnsafeMutableRawBufferPointer.allocate(byteCount: 0, alignment: 16)
    private var incomingBegin = 0, incomingEnd = 0
    /// A record in clear, on its way to be sealed or just opened.
    private var clear = UnsafeMutableRawBufferPointer.allocate(byteCount: 0, alignment: 16)
    private var longestIncoming = 0

    /// - Parameters:
    ///   - descriptor: of a connected socket, which this object owns.
    ///   - sealing: for what is sent; nil: plain.
    ///   - opening: for what comes; nil: plain.
    init(_ descriptor: Int32, sealing: StreamSeal?, opening: StreamSeal?) {
        self.descriptor = descriptor
        self.sealing = sealing
        self.opening = opening
    }

    deinit {
        Glibc.close(descriptor)
        outgoing.deallocate()
        incoming.deallocate()
        clear.deallocate()
    }

    /// Bytes of a record with so many values.
    static func recordSize(values: Int) -> Int {
        lengthSize + FrameHeader.size + 8 * values + StreamSeal.overhead
    }

    /// Memory for the records of one exchange on their way out, and for those of a frame that came; before the first. Sizes
    /// are those of `recordSize`.
    func reserve(outgoing out: Int, longestOutgoing: Int, incoming into: Int, longestIncoming: Int) {
        outgoing.deallocate()
        incoming.deallocate()
        clear.deallocate()
        outgoing = .allocate(byteCount: out, alignment: 16)
        incoming = .allocate(byteCount: into + Self.chunk, alignment: 16)
        clear = .allocate(byteCount: max(longestOutgoing, longestIncoming), alignment: 16)
        self.longestIncoming = longestIncoming
        (outgoingBegin, outgoingEnd, incomingBegin, incomingEnd) = (0, 0, 0, 0)
    }

    // MARK: Sending

    var hasUnsent: Bool { outgoingBegin < outgoingEnd }

    /// Puts a record behind those on their way; false when it is none that room was reserved for.
    func append(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) -> Bool {
        let size = FrameHeader.size + payload.count
        let length = size + (sealing == nil ? 0 : StreamSeal.overhead)
        if !hasUnsent { (outgoingBegin, outgoingEnd) = (0, 0) }
        guard size <= clear.count, outgoingEnd + Self.lengthSize + length <= outgoing.count else { return false }
        let record = outgoing.baseAddress! + outgoingEnd
        record.storeBytes(of: UInt32(length).littleEndian, as: UInt32.self)
        let start = sealing == nil ? record + Self.lengthSize : clear.baseAddress!
        header.store(into: start)
        if let bytes = payload.baseAddress { memcpy(start + FrameHeader.size, bytes, payload.count) }
        sealing?.seal(UnsafeRawBufferPointer(start: start, count: size), into: record + Self.lengthSize)
        outgoingEnd += Self.lengthSize + length
        return true
    }

    /// Gives the kernel as much as it takes; false when the connection is gone.
    func push() -> Bool {
        while hasUnsent {
            let sent = Glibc.send(
                descriptor, outgoing.baseAddress! + outgoingBegin, outgoingEnd - outgoingBegin,
                Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            if sent < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN
            }
            outgoingBegin += sent
        }
        return true
    }

    // MARK: Receiving

    var hasRoom: Bool { incomingEnd - incomingBegin < incoming.count }

    /// The next whole record, in clear, valid until the next call; nil when none has come yet.
    func nextRecord(from peer: Int) throws(LinkFault) -> UnsafeRawBufferPointer? {
        let waiting = incomingEnd - incomingBegin
        guard waiting >= Self.lengthSize else { return nil }
        let start = incoming.baseAddress! + incomingBegin
        let length = Int(UInt32(littleEndian: start.loadUnaligned(as: UInt32.self)))
        let most = longestIncoming - Self.lengthSize - (opening == nil ? StreamSeal.overhead : 0)
        guard length >= FrameHeader.size, length <= most else {
            throw .protocolError(
                peer: peer, cause: "sent a record of \(length) bytes where \(max(most, 0)) is the most")
        }
        guard waiting >= Self.lengthSize + length else { return nil }
        incomingBegin += Self.lengthSize + length
        let record = UnsafeRawBufferPointer(start: start + Self.lengthSize, count: length)
        guard let opening else { return record }
        guard opening.open(record, into: clear.baseAddress!) else {
            throw .protocolError(
                peer: peer, cause: "sent a record that its key did not seal: somebody tampers with the link")
        }
        return UnsafeRawBufferPointer(start: clear.baseAddress!, count: length - StreamSeal.overhead)
    }

    /// Takes what has come, or sleeps until something does: for the socket's receive time-out, or not at all.
    func pull(waits: Bool) -> Arrival {
        if incomingBegin == incomingEnd {
            (incomingBegin, incomingEnd) = (0, 0)
        } else if incomingBegin > 0, incoming.count - incomingEnd < Self.chunk / 2 {
            let start = incoming.baseAddress!
            memmove(start, start + incomingBegin, incomingEnd - incomingBegin)
            (incomingBegin, incomingEnd) = (0, incomingEnd - incomingBegin)
        }
        while true {
            let received = Glibc.recv(
                descriptor, incoming.baseAddress! + incomingEnd, incoming.count - incomingEnd,
                waits ? 0 : Int32(MSG_DONTWAIT))
            if received > 0 {
                incomingEnd += received
                return .some
            }
            if received == 0 { return .closed }
            if errno == EINTR { continue }
            return errno == EAGAIN ? .nothing : .closed
        }
    }
}
