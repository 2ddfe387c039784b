// The conformer in Swift.
import Foundation
import HermesModule

@main
final class Conformer: StatefulModule {
    @Input(unit: "m", summary: "moves total") var in_f64 = 0.5
    @Input var in_f32: Float = 0.25
    @Input var in_i64 = 3
    @Input var in_i32: Int32 = -2
    @Input var in_bool = false
    @Signal(options: .writable) var gain = 2.0
    @Output("out.f64", unit: "m") var out_f64 = 0.0
    @Output("out.f32") var out_f32: Float = 0
    @Output("out.i64") var out_i64 = 0
    @Output("out.i32") var out_i32: Int32 = 0
    @Output("out.bool") var out_bool = false
    @Output(unit: "m s") var total = 0.0
    let steps = Output(wrappedValue: 0, "steps")

    private var failAt = 0
    private var terminateFile: String?

    init() throws {
        guard let path = HermesModule.Simulation.configurationPath else { return }
        for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2, parts[0] == "fail_at" { failAt = Int(parts[1]) ?? 0 }
            if parts.count == 2, parts[0] == "terminate_file" { terminateFile = String(parts[1]) }
        }
    }

    func step(dt: Double) throws {
        steps.value += 1
        if steps.value == failAt { throw ModuleFailure(status: 7, "told to fail at step \(failAt)") }
        out_f64 = in_f64 * gain + dt
        out_f32 = in_f32 * 1.5
        out_i64 = in_i64 + 1
        out_i32 = in_i32 - 1
        out_bool = !in_bool
        total += in_f64 * dt
    }

    func terminate() {
        guard let terminateFile else { return }
        try? "terminated after \(steps.value) steps\n".write(toFile: terminateFile, atomically: false, encoding: .utf8)
    }

    func save() throws -> [UInt8] {
        Array("\(total) \(steps.value)".utf8)
    }

    func load(_ state: [UInt8]) throws {
        let parts = String(decoding: state, as: UTF8.self).split(separator: " ")
        guard parts.count == 2, let total = Double(parts[0]), let steps = Int(parts[1]) else {
            throw ModuleFailure("the state is not two numbers")
        }
        self.total = total
        self.steps.value = steps
    }
}
