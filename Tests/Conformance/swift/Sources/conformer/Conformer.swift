// The conformer in Swift.
import Foundation
import HermesModule

@main
final class Conformer: StatefulModule {
    @Input("in_f64", unit: "m", summary: "moves total") var inF64 = 0.5
    @Input("in_f32") var inF32: Float = 0.25
    @Input("in_i64") var inI64 = 3
    @Input("in_i32") var inI32: Int32 = -2
    @Input("in_bool") var inBool = false
    @Signal(options: .writable) var gain = 2.0
    @Output("out.f64", unit: "m") var outF64 = 0.0
    @Output("out.f32") var outF32: Float = 0
    @Output("out.i64") var outI64 = 0
    @Output("out.i32") var outI32: Int32 = 0
    @Output("out.bool") var outBool = false
    @Output(unit: "m s") var total = 0.0
    let steps = Output(wrappedValue: 0, "steps")

    private var failAt = 0
    private var hangAt = 0
    private var terminateFile: String?

    init() throws {
        guard let path = Simulation.configurationPath else { return }
        for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2, parts[0] == "fail_at" { failAt = Int(parts[1]) ?? 0 }
            if parts.count == 2, parts[0] == "hang_at" { hangAt = Int(parts[1]) ?? 0 }
            if parts.count == 2, parts[0] == "terminate_file" { terminateFile = String(parts[1]) }
        }
    }

    func step(dt: Double) throws {
        steps.value += 1
        while steps.value == hangAt { Thread.sleep(forTimeInterval: 3600) }
        if steps.value == failAt { throw ModuleFailure(status: 7, "told to fail at step \(failAt)") }
        outF64 = inF64 * gain + dt
        outF32 = inF32 * 1.5
        outI64 = inI64 + 1
        outI32 = inI32 - 1
        outBool = !inBool
        total += inF64 * dt
    }

    func terminate() {
        guard let terminateFile else { return }
        try? "terminated after \(steps.value) steps\n".write(toFile: terminateFile, atomically: false, encoding: .utf8)
    }

    static func safeState() {
        guard let path = Simulation.configurationPath, let text = try? String(contentsOfFile: path, encoding: .utf8)
        else { return }
        for line in text.split(separator: "\n") where line.hasPrefix("terminate_file=") {
            let file = String(line.dropFirst("terminate_file=".count))
            try? "safe after a hang\n".write(toFile: file, atomically: false, encoding: .utf8)
        }
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
