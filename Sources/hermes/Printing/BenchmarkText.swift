import HermesModel

extension BenchmarkResult {
    var isRealtime: Bool { settings.pacing.mode == .realtime }

    /// Of Hermes beside its floor, in afap by the mean frame, in realtime by the p99 of how late frames begin.
    func ratio(_ point: BenchmarkPoint) -> Double? {
        isRealtime
            ? BenchmarkPoint.ratio(
                point.hermes.compactMap { $0.lateness?.p99 }, point.floor.compactMap { $0.lateness?.p99 })
            : BenchmarkPoint.ratio(point.hermes.map(\.times.mean), point.floor.map(\.times.mean))
    }

    /// What is shown of rounds: how long frames took or, in realtime, how late they began.
    func shown(_ rounds: [Measurement]) -> FrameTimes? {
        BenchmarkPoint.times(isRealtime ? rounds.compactMap(\.lateness) : rounds.map(\.times))
    }

    var title: String {
        "hermes bench: \(isRealtime ? "how late frames begin at \(settings.pacing.rateHz) Hz" : "frame time")"
    }

    var machineLine: String {
        "\(machine.processor), \(machine.cores) cores, Linux \(machine.kernel), load \(decimals(machine.load, 2))"
    }

    /// A table for people, and what to know of it.
    var text: String {
        var lines = ["\(title), microseconds", machineLine]
        if !settings.hosts.isEmpty { lines.append("hosts: \(settings.hosts.map(\.name).joined(separator: ", "))") }
        lines.append("")
        lines += table
        lines.append("")
        lines.append(
            "medians of \(settings.rounds) round\(settings.rounds == 1 ? "" : "s"), Hermes and floor in turns; max: of all. "
                + "Floor: \(floorNames). Ratio: Hermes to floor, \(isRealtime ? "by p99" : "by the mean frame").")
        lines += remarks.map { "Note: \($0)." }
        return lines.joined(separator: "\n")
    }

    private var floorNames: String {
        var names: [String] = []
        for point in points where !names.contains(point.floorName) { names.append(point.floorName) }
        return names.joined(separator: "; ")
    }

    /// Columns to the right, since numbers are compared by their ends.
    private var table: [String] {
        var rows = [
            ["", "", "", "hermes", "", "", "", "", "floor", "", "", "a frame", "", ""],
            [
                "hosts", "modules", "signals", "p50", "p99", "p99.9", "max", "frames/s", "p50", "p99", "ratio",
                "CPU us", "calls", "switches",
            ],
        ]
        if helicsVersion != nil {
            rows[0] += ["helics", "", "", "", ""]
            rows[1] += ["p50", "p99", "p99.9", "frames/s", "hermes is"]
        }
        rows += points.map(cells)
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        // Where a group of columns begins.
        let groups: Set<Int> = [3, 8, 11, 14]
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let gap = column == 0 ? "" : groups.contains(column) ? "    " : "  "
                line += gap + String(repeating: " ", count: widths[column] - cell.count) + cell
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    private func cells(_ point: BenchmarkPoint) -> [String] {
        let shape = point.shape
        let hermes = shown(point.hermes), floor = shown(point.floor), helics = shown(point.helics)
        let rate = BenchmarkPoint.median(point.hermes.map(\.framesPerSecond))
        var cells = [
            "\(shape.hosts)", "\(shape.modules)", "\(shape.signals)", us(hermes?.p50), us(hermes?.p99),
            us(hermes?.p999),
            us(hermes?.max), decimals(rate, 0), us(floor?.p50), us(floor?.p99),
            ratio(point).map { decimals($0, 2) } ?? "-", us(BenchmarkPoint.median(point.hermes.map(\.cpu))),
            point.systemCalls.map { decimals($0, 1) } ?? "-",
            BenchmarkPoint.median(point.hermes.map(\.switches)).map { decimals($0, 1) } ?? "-",
        ]
        if helicsVersion != nil {
            let times = BenchmarkPoint.ratio(point.helics.map(\.times.mean), point.hermes.map(\.times.mean))
            cells += [
                us(helics?.p50), us(helics?.p99), us(helics?.p999),
                decimals(BenchmarkPoint.median(point.helics.map(\.framesPerSecond)), 0),
                times.map { "\(decimals($0, 1)) x" } ?? "-",
            ]
        }
        return cells
    }

    private func us(_ value: Double?) -> String { value.map { decimals($0, $0 < 100 ? 1 : 0) } ?? "-" }
}
