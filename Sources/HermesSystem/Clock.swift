import Glibc

/// CLOCK_MONOTONIC, nanoseconds.
public func monotonicNow() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

/// `seconds` from now; never for 0 or anything beyond a century.
public func deadline(after seconds: Double) -> UInt64 {
    guard seconds > 0, seconds < 3e9 else { return .max / 2 }
    return monotonicNow() + UInt64(seconds * 1e9)
}
