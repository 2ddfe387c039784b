import HermesProtocol

/// The life of one module as a value: an event goes in; false comes out for one that can't happen now.
struct ModuleLifecycle: Equatable {
    enum Event: CaseIterable {
        case stage, run, pause, reset, finish, fail
    }

    private(set) var state = ModuleState.initialising

    mutating func handle(_ event: Event) -> Bool {
        switch (state, event) {
        case (.initialising, .stage): state = .staged
        case (.staged, .run), (.paused, .run), (.running, .run): state = .running
        case (.staged, .pause), (.running, .pause), (.paused, .pause): state = .paused
        case (.staged, .reset), (.running, .reset), (.paused, .reset): break
        case (.error, .fail), (.done, .finish): break
        case (.done, _), (.error, _): return false
        case (_, .finish): state = .done
        case (_, .fail): state = .error
        default: return false
        }
        return true
    }
}
