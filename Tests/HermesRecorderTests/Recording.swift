import Foundation
import HermesModel
import HermesPlan
import HermesProtocol

/// A plan of given signals, frames of values for it, and a folder to record them in.
struct Recording {
    let plan: Plan
    let folder: String

    /// - Parameter modules: each a name and its signals, in the order they announce.
    init(_ modules: [(String, [AnnouncedSignal])], rateHz: Double = 10) throws {
        let place = SourceLocation(file: "recording", line: 1, column: 1)
        let simulation = Simulation(
            name: "recording", baseDirectory: "/",
            modules: modules.map { Module(name: $0.0, kind: .process, program: "/bin/true", location: place) },
            execution: Execution(rateHz: rateHz, schedule: [modules.map(\.0)]))
        plan = try Planner.plan(simulation, announcements: modules.map { Announcement(signals: $0.1) }).plan
        folder = FileManager.default.temporaryDirectory.path + "/hermes-recording-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }
    func text(_ file: String) throws -> String { try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8) }
    var files: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted() }

    /// Shows a frame; values by qualified name, as the bits of their slots, 0 where none is given.
    func show(_ frame: UInt64, _ values: [String: UInt64], to observer: some FrameObserver) throws {
        let slots = plan.registry.signals.map { values[$0.name.description] ?? 0 }
        try slots.withUnsafeBufferPointer {
            try observer.completed(frame: frame, time: Double(frame) / plan.rateHz, slots: $0.baseAddress!)
        }
    }
}
