import HermesModel
import HermesProtocol

extension BenchmarkResult {
    /// Everything, each round included. Times in microseconds.
    var json: JSONValue {
        [
            "version": .text(hermesVersion),
            "machine": [
                "processor": .text(machine.processor), "cores": .integer(machine.cores),
                "kernel": .text(machine.kernel),
                "load": .double(machine.load),
            ],
            "mode": .text(settings.pacing.mode.rawValue),
            "rate_hz": isRealtime ? .integer(settings.pacing.rateHz) : .null,
            "grant": settings.pacing.grant.map { .integer($0) } ?? .null,
            "mirrors": .text(settings.pacing.mirrors.rawValue),
            "rounds": .integer(settings.rounds),
            "hosts": .list(settings.hosts.map { .text($0.name) }),
            "helics_version": helicsVersion.map { .text($0) } ?? .null,
            "system_calls_by": counter.map { .text($0.rawValue) } ?? .null,
            "points": .list(points.map(json)),
            "remarks": .list(remarks.map { .text($0) }),
        ]
    }

    private func json(_ point: BenchmarkPoint) -> JSONValue {
        [
            "hosts": .integer(point.shape.hosts), "modules": .integer(point.shape.modules),
            "signals": .integer(point.shape.signals), "frames": .integer(point.frames),
            "hermes": json(point.hermes), "floor_name": .text(point.floorName), "floor": json(point.floor),
            "helics": point.helics.isEmpty ? .null : json(point.helics),
            "ratio": ratio(point).map { .double($0) } ?? .null,
            "system_calls": point.systemCalls.map { .double($0) } ?? .null,
        ]
    }

    private func json(_ rounds: [Measurement]) -> JSONValue {
        func median(_ value: (Measurement) -> Double?) -> JSONValue {
            optional(BenchmarkPoint.median(rounds.map(value)))
        }
        return [
            "frame_us": json(BenchmarkPoint.times(rounds.map(\.times))),
            "lateness_us": json(BenchmarkPoint.times(rounds.compactMap(\.lateness))),
            "frames_per_s": .double(BenchmarkPoint.median(rounds.map(\.framesPerSecond))),
            "cpu_us": median { $0.cpu }, "modules_cpu_us": median { $0.modulesCPU },
            "nodes_cpu_us": median { $0.nodesCPU },
            "coordinator_cpu_us": median { $0.coordinatorCPU }, "switches": median { $0.switches },
            "rounds": .list(
                rounds.map { round in
                    [
                        "frame_us": json(round.times), "lateness_us": json(round.lateness),
                        "cpu_us": optional(round.cpu),
                        "switches": optional(round.switches),
                    ]
                }),
        ]
    }

    private func json(_ times: FrameTimes?) -> JSONValue {
        guard let times else { return .null }
        return [
            "mean": .double(times.mean), "p50": .double(times.p50), "p99": .double(times.p99),
            "p999": .double(times.p999),
            "max": .double(times.max),
        ]
    }

    private func optional(_ value: Double?) -> JSONValue { value.map { .double($0) } ?? .null }
}
