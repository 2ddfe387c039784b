import HermesCoordinator
import HermesModel

/// Frame, time, rate, real-time factor and time left, from the frames counted between two looks.
struct ProgressLine {
    private let rateHz: Double
    private let lastFrame: UInt64?
    private var lookedAt: UInt64 = 0
    private var lookedFrame: UInt64 = 0

    init(rateHz: Double, lastFrame: UInt64?) {
        self.rateHz = rateHz
        self.lastFrame = lastFrame
    }

    mutating func text(_ progress: RunProgress, now: UInt64) -> String {
        let frame = progress.frame
        let seconds = lookedAt == 0 ? 0 : Double(now - lookedAt) / 1e9
        let rate = seconds > 0 && frame >= lookedFrame ? Double(frame - lookedFrame) / seconds : 0
        lookedAt = now
        lookedFrame = frame

        var parts = ["frame \(frame)" + (lastFrame.map { "/\($0)" } ?? "")]
        if let lastFrame, lastFrame > 0 { parts.append("\(frame * 100 / lastFrame) %") }
        parts.append("\(decimals(Double(frame) / rateHz, 2)) s")
        if progress.isPaused {
            parts.append("paused")
        } else if rate > 0 {
            parts.append("\(decimals(rate, rate < 100 ? 1 : 0)) frames/s")
            parts.append("\(decimals(rate / rateHz, 2))x real time")
            if let lastFrame, lastFrame > frame { parts.append("\(duration(Double(lastFrame - frame) / rate)) left") }
        }
        return parts.joined(separator: "  ")
    }
}

/// A number with so many decimals; there is no printf without Foundation.
func decimals(_ value: Double, _ count: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return value.description }
    var scale = 1.0
    for _ in 0..<count { scale *= 10 }
    let scaled = (abs(value) * scale).rounded()
    let whole = (scaled / scale).rounded(.towardZero)
    var text = (value < 0 && scaled > 0 ? "-" : "") + String(Int(whole))
    if count > 0 {
        let fraction = String(Int(scaled - whole * scale))
        text += "." + String(repeating: "0", count: count - fraction.count) + fraction
    }
    return text
}

/// 4.2 s, 3 min 20 s, 2 h 5 min.
func duration(_ seconds: Double) -> String {
    if seconds < 60 { return "\(decimals(seconds, seconds < 10 ? 1 : 0)) s" }
    guard seconds < 1e9 else { return "a long time" }
    let whole = Int(seconds.rounded())
    return whole < 3600 ? "\(whole / 60) min \(whole % 60) s" : "\(whole / 3600) h \(whole % 3600 / 60) min"
}
