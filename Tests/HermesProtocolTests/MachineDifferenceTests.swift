import HermesProtocol
import Testing

@Suite struct MachineDifferenceTests {
    private let desk = Machine(
        architecture: "x86_64", processor: "Old", features: ["fma", "avx"], libc: "glibc 2.39")

    private func differences(_ others: (String, Machine)...) -> [String] {
        Machine.differences(among: [("desk", desk)] + others.map { (name: $0, machine: $1) })
    }

    @Test func whatComputesAlikeIsNoDifference() {
        var other = desk
        // Its name alone decides nothing, nor does the order in which it lists what it can.
        other.processor = "New"
        other.features = ["avx", "fma"]
        #expect(differences(("bench", other)).isEmpty)
        #expect(differences().isEmpty && Machine.differences(among: []).isEmpty)
    }

    @Test func eachDifferenceIsNamed() {
        var other = desk
        other.features = ["fma", "avx2", "avx512f"]
        #expect(
            differences(("bench", other)) == [
                "bench: a CPU with avx2 avx512f, which desk lacks; a CPU without avx, which desk has"
            ])
        other.features = desk.features
        other.libc = "glibc 2.36"
        #expect(differences(("bench", other)) == ["bench: glibc 2.36, where desk has glibc 2.39"])
        other.architecture = "aarch64"
        #expect(
            differences(("bench", other)) == [
                "bench: aarch64, where desk is x86_64; glibc 2.36, where desk has glibc 2.39"
            ])
    }

    @Test func hostsOfAKindShareASentence() {
        var small = desk, foreign = desk
        small.features = []
        foreign.architecture = "riscv64"
        #expect(
            differences(("a", small), ("b", desk), ("c", foreign), ("d", small)) == [
                "a, d: a CPU without fma avx, which desk has", "c: riscv64, where desk is x86_64",
            ])
    }
}
