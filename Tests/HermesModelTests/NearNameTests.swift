import HermesModel
import Testing

@Suite struct NearNameTests {
    @Test(arguments: [
        ("icarsu", "icarus"), ("icaru", "icarus"), ("icaruss", "icarus"), ("ICARUS", "icarus"),
        ("incjetor", "injector"),
        ("f46", "f64"), ("bol", "bool"), ("x", "X"),
    ])
    func finds(name: String, candidate: String) {
        #expect(nearest(to: name, among: ["icarus", "injector", "f64", "bool", "X"]) == candidate)
    }

    @Test(arguments: ["", "zzz", "a", "injury", "completely other", String(repeating: "icarus", count: 30)])
    func findsNothing(name: String) {
        #expect(nearest(to: name, among: ["icarus", "injector", "x", ""]) == nil)
    }

    @Test func prefersTheNearest() {
        #expect(nearest(to: "motor_2", among: ["motor_15", "motor_1", "motor2"]) == "motor_1")
        #expect(nearest(to: "motor_1", among: ["motor_2", "motor_1"]) == "motor_1")
    }

    @Test func wordsTheQuestion() {
        #expect(didYouMean("mod", among: ["mode"]) == "; did you mean `mode`?")
        #expect(didYouMean("other", among: ["mode"]) == "")
    }
}
