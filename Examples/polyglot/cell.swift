// A cell of the ring, in Swift: one step of the logistic map, and its result in every type of signal.
import HermesModule

@main
final class Cell: Module {
    @Input var neighbour = 0.0
    @Output var value = 0.3
    @Output var single: Float = 0.0
    @Output(unit: "%") var percent: Int32 = 0
    @Output var high = false
    @Output var steps = 0
    @Output(unit: "s") var elapsed = 0.0

    init() {}

    func step(dt: Double) {
        value = 3.9 * neighbour * (1.0 - neighbour)
        single = Float(value)
        percent = Int32(100.0 * value)
        high = value > 0.5
        steps += 1
        elapsed += dt
    }
}
