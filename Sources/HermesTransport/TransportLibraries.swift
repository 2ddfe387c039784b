import CSodium
import CZeroMQ

/// The libraries that carry and protect messages, for those who look whether all is well.
public enum TransportLibraries {
    public static var zeroMQ: String {
        var (major, minor, patch) = (Int32(0), Int32(0), Int32(0))
        zmq_version(&major, &minor, &patch)
        return "\(major).\(minor).\(patch)"
    }

    /// Whether messages can be encrypted.
    public static var hasCurve: Bool { zmq_has("curve") == 1 }

    public static var sodium: String { String(cString: sodium_version_string()) }
}
