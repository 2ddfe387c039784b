import Glibc

/// The frame times of a benchmark as an SVG picture: microseconds upwards on a logarithmic scale, the shapes side by side;
/// a line through the p50 of each group of shapes, a stroke up to each p99, dashes for the floor.
struct BenchmarkPlot {
    private let result: BenchmarkResult
    /// What differs along the x axis: the property of shapes that has most values.
    private let axis: Axis
    private let values: [Int]
    private let groups: [(name: String, points: [BenchmarkPoint])]
    private let decades: ClosedRange<Int>

    private enum Axis: String, CaseIterable {
        case signals = "signals from each module to the next"
        case modules = "modules on each host"
        case hosts = "hosts"

        func value(_ shape: BenchmarkShape) -> Int {
            switch self {
            case .signals: shape.signals
            case .modules: shape.modules
            case .hosts: shape.hosts
            }
        }

        func rest(_ shape: BenchmarkShape) -> String {
            func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
            let parts = [
                self == .hosts ? nil : count(shape.hosts, "host"),
                self == .modules ? nil : count(shape.modules, "module"),
                self == .signals ? nil : count(shape.signals, "signal"),
            ]
            return parts.compactMap { $0 }.joined(separator: ", ")
        }
    }

    // Okabe and Ito's colours, which differ for everybody.
    private static let colours = [
        "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#555555",
    ]
    private static let width = 920.0, left = 74.0, right = 250.0, top = 74.0, bottom = 62.0
    private let height: Double

    init(_ result: BenchmarkResult) {
        self.result = result
        let shapes = result.points.map(\.shape)
        let spread = Axis.allCases.map { axis in (axis, Set(shapes.map(axis.value)).count) }
        let most = spread.map(\.1).max() ?? 1
        let axis = spread.first { $0.1 == most }?.0 ?? .signals
        self.axis = axis
        values = Set(shapes.map(axis.value)).sorted()
        var groups: [(name: String, points: [BenchmarkPoint])] = []
        for point in result.points {
            let name = axis.rest(point.shape)
            if let index = groups.firstIndex(where: { $0.name == name }) {
                groups[index].points.append(point)
            } else {
                groups.append((name, [point]))
            }
        }
        for index in groups.indices { groups[index].points.sort { axis.value($0.shape) < axis.value($1.shape) } }
        self.groups = groups
        let times = result.points.flatMap { [$0.hermes, $0.floor, $0.helics] }.compactMap { result.shown($0) }
        let all = times.flatMap { [$0.p50, $0.p99] }.filter { $0 > 0 }
        let low = Int(floor(log10(all.min() ?? 1))), high = Int(ceil(log10(all.max() ?? 10)))
        decades = low...max(high, low + 1)
        height = Swift.max(480, Self.top + 60 + 22 * Double(groups.count) + Self.bottom + 40)
    }

    var svg: String {
        var lines = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(text(Self.width)) \(text(height))\" "
                + "font-family=\"system-ui, Helvetica, Arial, DejaVu Sans, sans-serif\" font-size=\"12\" fill=\"#222\">",
            "<title>\(escaped(result.title))</title>",
            "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
            label(Self.left, 28, result.title, size: 17, weight: 600),
            label(Self.left, 48, result.machineLine, colour: "#666"),
        ]
        lines += grid
        for (index, group) in groups.enumerated() { lines += series(group.points, index) }
        lines += legend
        lines.append("</svg>")
        return lines.joined(separator: "\n") + "\n"
    }

    // MARK: Places

    private func x(_ value: Int, shiftedFor index: Int = 0) -> Double {
        let room = Self.width - Self.left - Self.right
        let step = room / Double(values.count)
        let place = Self.left + step * (Double(values.firstIndex(of: value) ?? 0) + 0.5)
        // Side by side where strokes would hide each other.
        let between = Swift.min(7, step * 0.6 / Double(Swift.max(groups.count, 1)))
        return place + (Double(index) - Double(groups.count - 1) / 2) * between
    }

    private func y(_ microseconds: Double) -> Double {
        let share = (log10(microseconds) - Double(decades.lowerBound)) / Double(decades.count - 1)
        return height - Self.bottom - share * (height - Self.top - Self.bottom)
    }

    // MARK: Parts

    private var grid: [String] {
        let end = Self.width - Self.right
        var lines: [String] = []
        for decade in decades {
            for digit in 1...9 where decade < decades.upperBound || digit == 1 {
                let value = Double(digit) * pow(10, Double(decade)), place = y(value)
                let colour = digit == 1 ? "#bbb" : "#ececec"
                lines.append(line(Self.left, place, end, place, "stroke=\"\(colour)\""))
                if digit == 1 || (decades.count <= 3 && (digit == 2 || digit == 5)) {
                    lines.append(label(Self.left - 8, place + 4, axisText(value), anchor: "end"))
                }
            }
        }
        let base = height - Self.bottom
        for value in values {
            let place = x(value, shiftedFor: 0) + (Double(groups.count - 1) / 2) * shift
            lines.append(label(place, base + 20, "\(value)", anchor: "middle"))
        }
        lines.append(line(Self.left, base, end, base, "stroke=\"#222\""))
        lines.append(line(Self.left, Self.top, Self.left, base, "stroke=\"#222\""))
        lines.append(label((Self.left + end) / 2, base + 44, axis.rawValue, anchor: "middle"))
        let middle = (Self.top + base) / 2
        lines.append(
            "<text transform=\"translate(20 \(text(middle))) rotate(-90)\" text-anchor=\"middle\">microseconds</text>")
        return lines
    }

    private var shift: Double { groups.count < 2 ? 0 : x(values[0], shiftedFor: 1) - x(values[0], shiftedFor: 0) }

    private func series(_ points: [BenchmarkPoint], _ index: Int) -> [String] {
        let colour = Self.colours[index % Self.colours.count]
        var lines: [String] = []
        lines += curve(points, index, { result.shown($0.floor) }, "stroke=\"\(colour)\" stroke-dasharray=\"5 4\"")
        lines += curve(
            points, index, { result.shown($0.helics) },
            "stroke=\"\(colour)\" stroke-width=\"1.5\" stroke-dasharray=\"1 4\" stroke-linecap=\"round\"")
        lines += curve(points, index, { result.shown($0.hermes) }, "stroke=\"\(colour)\" stroke-width=\"2\"")
        for point in points {
            let place = x(axis.value(point.shape), shiftedFor: index)
            if let floor = result.shown(point.floor), floor.p50 > 0 {
                lines.append(
                    marker(
                        place, floor, "fill=\"#fff\" stroke=\"\(colour)\" r=\"3\"", "floor, \(point.floorName)", point))
            }
            if let helics = result.shown(point.helics), helics.p50 > 0 {
                lines.append(
                    "<rect x=\"\(text(place - 3.5))\" y=\"\(text(y(helics.p50) - 3.5))\" width=\"7\" height=\"7\" "
                        + "fill=\"\(colour)\">\(tip("HELICS", helics, point))</rect>")
            }
            if let hermes = result.shown(point.hermes), hermes.p50 > 0 {
                lines.append(
                    line(
                        place, y(hermes.p50), place, y(hermes.p99),
                        "stroke=\"\(colour)\" stroke-width=\"5\" stroke-opacity=\"0.3\""))
                lines.append(line(place - 4, y(hermes.p99), place + 4, y(hermes.p99), "stroke=\"\(colour)\""))
                lines.append(marker(place, hermes, "fill=\"\(colour)\" r=\"4\"", "Hermes", point))
            }
        }
        return lines
    }

    private func curve(
        _ points: [BenchmarkPoint], _ index: Int, _ times: (BenchmarkPoint) -> FrameTimes?, _ style: String
    ) -> [String] {
        let places = points.compactMap { point -> String? in
            guard let times = times(point), times.p50 > 0 else { return nil }
            return "\(text(x(axis.value(point.shape), shiftedFor: index))),\(text(y(times.p50)))"
        }
        return places.count < 2
            ? [] : ["<polyline fill=\"none\" \(style) points=\"\(places.joined(separator: " "))\"/>"]
    }

    private func marker(_ x: Double, _ times: FrameTimes, _ style: String, _ who: String, _ point: BenchmarkPoint)
        -> String
    {
        "<circle cx=\"\(text(x))\" cy=\"\(text(y(times.p50)))\" \(style)>\(tip(who, times, point))</circle>"
    }

    /// Shown where the mouse rests.
    private func tip(_ who: String, _ times: FrameTimes, _ point: BenchmarkPoint) -> String {
        let numbers =
            "p50 \(decimals(times.p50, 1)) us, p99 \(decimals(times.p99, 1)) us, max \(decimals(times.max, 1)) us"
        return "<title>\(escaped("\(who): \(point.shape.text): \(numbers)"))</title>"
    }

    private var legend: [String] {
        let begin = Self.width - Self.right + 22
        var lines: [String] = [], place = Self.top + 6
        for (index, group) in groups.enumerated() {
            let colour = Self.colours[index % Self.colours.count]
            lines.append(line(begin, place, begin + 26, place, "stroke=\"\(colour)\" stroke-width=\"2\""))
            lines.append("<circle cx=\"\(text(begin + 13))\" cy=\"\(text(place))\" r=\"4\" fill=\"\(colour)\"/>")
            lines.append(label(begin + 36, place + 4, group.name))
            place += 22
        }
        place += 10
        lines.append(
            line(
                begin + 13, place + 6, begin + 13, place - 8,
                "stroke=\"#555\" stroke-width=\"5\" stroke-opacity=\"0.3\""))
        lines.append(line(begin + 9, place - 8, begin + 17, place - 8, "stroke=\"#555\""))
        lines.append(label(begin + 36, place + 4, "p50 up to p99"))
        place += 22
        lines.append(line(begin, place, begin + 26, place, "stroke=\"#555\" stroke-dasharray=\"5 4\""))
        lines.append("<circle cx=\"\(text(begin + 13))\" cy=\"\(text(place))\" r=\"3\" fill=\"#fff\" stroke=\"#555\"/>")
        lines.append(label(begin + 36, place + 4, "floor (p50): the bare system"))
        if let version = result.helicsVersion {
            place += 22
            lines.append(
                line(
                    begin, place, begin + 26, place,
                    "stroke=\"#555\" stroke-width=\"1.5\" stroke-dasharray=\"1 4\" stroke-linecap=\"round\""))
            lines.append(
                "<rect x=\"\(text(begin + 9.5))\" y=\"\(text(place - 3.5))\" width=\"7\" height=\"7\" fill=\"#555\"/>")
            lines.append(label(begin + 36, place + 4, "HELICS \(version) (p50)"))
        }
        return lines
    }

    // MARK: Elements

    private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) -> String {
        "<line x1=\"\(text(x1))\" y1=\"\(text(y1))\" x2=\"\(text(x2))\" y2=\"\(text(y2))\" \(style)/>"
    }

    private func label(
        _ x: Double, _ y: Double, _ words: String, anchor: String = "start", size: Int = 12, weight: Int = 400,
        colour: String = "#222"
    ) -> String {
        "<text x=\"\(text(x))\" y=\"\(text(y))\" text-anchor=\"\(anchor)\" font-size=\"\(size)\" font-weight=\"\(weight)\" "
            + "fill=\"\(colour)\">\(escaped(words))</text>"
    }

    private func axisText(_ value: Double) -> String {
        value >= 1000 ? "\(decimals(value / 1000, 0)) 000" : value >= 1 ? decimals(value, 0) : decimals(value, 2)
    }

    private func text(_ value: Double) -> String { decimals(value, 1) }

    private func escaped(_ words: String) -> String {
        words.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }
}
