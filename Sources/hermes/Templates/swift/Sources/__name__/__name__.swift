import HermesModule

@main
final class {{Type}}: Module {
    @Input(unit: "1/s", summary: "growth of value") var rate = 2.0
    @Output var value = 0.0

    func step(dt: Double) {
        value += rate * dt
    }
}
