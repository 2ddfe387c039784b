import HermesModel

// What the numbers on a link may be (docs/protocol.md, sections 8 and 12).

extension SetUp: MessageBody {
    public func check() throws(UnsoundMessage) {
        let range = 0...(Bound.participants.upperBound - 1)
        for peer in peers { try require(peer.index, in: range, "peers[].index") }
        for stream in streams ?? [] { try require(stream.index, in: range, "streams[].index") }
        // A peer named twice would be dialled twice, under one name.
        try require(Set(peers.map(\.index)).count == peers.count, "'peers' has one of them twice")
        try require(
            Set((streams ?? []).map(\.index)).count == streams?.count ?? 0, "'streams' has one of them twice")
    }
}

extension LaunchModules: MessageBody {
    /// What names a module when it is wrong is `LaunchOrder`'s to say.
    public func check() throws(UnsoundMessage) {
        for module in modules {
            try requireName(module.name, "modules[].name")
            try require(module.stepTimeoutSeconds, in: Bound.seconds, "modules[].stepTimeoutSeconds")
            try require(module.startTimeoutSeconds, in: Bound.seconds, "modules[].startTimeoutSeconds")
        }
        try require(restartLimit, in: 0...Int(Int32.max), "restartLimit")
    }
}

extension RealtimeWish {
    func check(_ place: String) throws(UnsoundMessage) {
        try require(priority, in: Realtime.priorities, "\(place).priority")
        try require(isSound, "'\(place).cpus' has a CPU that no machine has, or none")
    }
}

extension Announced: MessageBody {
    public func check() throws(UnsoundMessage) {
        for module in modules {
            var names = Set<[UInt8]>(minimumCapacity: module.signals.count)
            for signal in module.signals {
                try requireName(signal.name, "modules[].signals[].name")
                try require(
                    names.insert(Array(signal.name.utf8)).inserted, "two signals have the name '\(signal.name)'")
                try require(signal.direction, in: 0...3, "modules[].signals[].direction")
                try require(signal.unit?.utf8.count, in: Bound.text, "modules[].signals[].unit, in bytes,")
                try require(
                    signal.summary?.utf8.count, in: Bound.text, "modules[].signals[].summary, in bytes,")
            }
        }
    }
}

extension StartValues: MessageBody {
    public func check() throws(UnsoundMessage) {
        for slot in slots { try require(slot, in: Bound.count, "slots[]") }
        // A question has slots and nothing else.
        try require(
            bits.isEmpty || bits.count == slots.count, "'bits' is not as long as 'slots'")
    }
}

extension ShowState: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension Terminate: MessageBody {
    public func check() throws(UnsoundMessage) {}
}

extension RunFailure: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(frame, in: Bound.frame, "frame")
    }
}

extension ModuleError: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(frame, in: Bound.frame, "frame")
        try require(differsFrom, in: Bound.frame, "differs_from")
        try require(restart, in: 0...Int(Int32.max), "restart")
    }
}

extension RealtimeReport: MessageBody {
    public func check() throws(UnsoundMessage) {
        for thread in threads {
            try thread.asked.check("threads[].asked")
            guard let found = thread.found else { continue }
            try require(found.priority, in: Bound.int32, "threads[].found.priority")
            try require(found.thread, in: 0...Int(UInt32.max), "threads[].found.thread")
            try require(found.locked_bytes, in: 0...Int.max, "threads[].found.locked_bytes")
            try require(found.timer_slack_ns, in: 0...Int.max, "threads[].found.timer_slack_ns")
            try require(
                found.cpus.count <= CPUList.range.count && found.cpus.allSatisfy(CPUList.range.contains),
                "'threads[].found.cpus' has a CPU that no machine has")
        }
    }
}

// MARK: Where the time went

extension HostTimes: MessageBody {
    public func check() throws(UnsoundMessage) {
        for (durations, field) in [(frame, "frame"), (execute, "execute"), (network, "network"), (wait, "wait")] {
            try durations.check(field)
        }
        for module in modules {
            try module.execute.check("modules[].execute")
            try module.start.check("modules[].start")
            try require(module.wait, in: Bound.nanoseconds, "modules[].wait")
        }
        for peer in peers {
            try require(peer.wait, in: Bound.nanoseconds, "peers[].wait")
            try require(peer.longest, in: Bound.nanoseconds, "peers[].longest")
        }
        for slow in slowest {
            try require(slow.frame, in: Bound.frame, "slowest[].frame")
            let times = [
                (slow.time, "time"), (slow.network, "network"), (slow.step, "step"), (slow.patience, "patience"),
            ]
            for (time, field) in times { try require(time, in: Bound.nanoseconds, "slowest[].\(field)") }
        }
    }
}

extension Durations {
    /// The decoder has seen to it that values rise.
    func check(_ field: String) throws(UnsoundMessage) {
        try require(total, in: Bound.nanoseconds, "\(field)[0], the total,")
        try require(longest, in: Bound.nanoseconds, "\(field)[1], the longest,")
        try require(values.last, in: Bound.nanoseconds, "a value of \(field)")
        var sum: UInt64 = 0
        for count in counts {
            try require(count, in: Bound.frame, "a count of \(field)")
            sum += count
            try require(sum, in: Bound.frame, "the sum of the counts of \(field)")
        }
    }
}

extension HostTrace: MessageBody {
    public func check() throws(UnsoundMessage) {
        try require(lost, in: Bound.frame, "lost")
        try require(isWhole, "'events' is no whole number of events, or of more than a host keeps")
    }
}
