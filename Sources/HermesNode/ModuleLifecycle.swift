import HermesProtocol

/// The life of one module as a value: an event goes in; false comes out for one that can't happen now.
struct ModuleLifecycle: Equatable {
    enum Event: CaseIterable {
        case stage, run, pause, reset, finish, fail
        /// It failed, and is not stepped any more.
        case hold
        /// It failed, and is started again; what it was doing follows once it has staged.
        case restart
    }

    private(set) var state = ModuleState.initialising

    mutating func handle(_ event: Event) -> Bool {
        switch (state, event) {
        case (.error, .fail), (.done, .finish): break
        case (.held, .hold), (.held, .run), (.held, .pause), (.held, .reset): break
        // A start that fails may be followed by another.
        case (.error, .restart): state = .restarting
        case (.error, .hold): state = .held
        case (.done, _), (.error, _): return false
        case (_, .finish): state = .done
        case (.held, _): return false
        case (_, .fail): state = .error
        case (.initialising, .stage), (.restarting, .stage): state = .staged
        case (.initialising, _), (_, .stage), (.restarting, .reset): return false
        case (_, .run): state = .running
        case (_, .pause): state = .paused
        case (_, .hold): state = .held
        case (_, .restart): state = .restarting
        case (_, .reset): break
        }
        return true
    }
}
