import CHermes

/// A segment opened as a client, closed once: when the last that holds this object lets go of it. Whatever opens one keeps
/// the object and has no close of its own, so that an initialiser which throws closes nothing twice.
final class SegmentClient: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Nil with errno and `hermes_last_error` as `hermes_client_open` leaves them.
    init?(opening name: String) {
        guard let pointer = hermes_client_open(name) else { return nil }
        self.pointer = pointer
    }

    deinit { hermes_client_close(pointer) }
}
