import HermesConfiguration
import HermesModel
import HermesSystem
import Testing

/// What moves from named hosts to the desk, and what is kept from it.
@Suite struct OneHostTests {
    private let folder = Corpus.path("Desk")

    private func moved(_ settings: String) throws -> (simulation: Simulation, immovable: [Immovable]) {
        let text = """
            version: "0.2"
            hosts: { far: { endpoint: "tcp://127.0.0.1:7600" } }
            modules:
              m: { host: far, \(settings) }
              here: { type: process, executable: ./model }
            execution: { rate_hz: 1 }
            """
        return try ConfigurationReader.parse(text: Array(text.utf8), file: "sim.yaml", baseDirectory: folder).simulation
            .onOneHost()
    }

    @Test func pathsStartAtTheConfiguration() throws {
        let (simulation, immovable) = try moved(
            "type: process, executable: ./model, config: model.yaml, working_dir: ./folder/., rate_hz: 1, args: [a]")
        let module = simulation.modules[0]
        #expect(immovable.isEmpty && simulation.modules.map(\.host) == [nil, nil])
        #expect(module.program == folder + "/model" && module.configuration == folder + "/model.yaml")
        #expect(module.workingDirectory == folder + "/folder" && module.arguments == ["a"] && module.rateHz == 1)
        #expect(simulation.modules[1].program == folder + "/model")
    }

    @Test(arguments: [
        ("type: inproc, executable: ./model.so", nil), ("type: script, script: ./inject.py", nil),
        ("type: script, script: ./free.sh", "./free.sh can't be executed here"),
        ("type: process, executable: ./mode", "there is no ./mode here"),
        ("type: process, executable: folder", "folder is a directory here"),
        ("type: process, executable: model.yaml", "model.yaml can't be executed here"),
        ("type: process, executable: model, config: other.yaml", "there is no other.yaml here"),
        ("type: process, executable: model, working_dir: model", "model is a file here"),
    ])
    func whatIsNotHereKeepsItsModule(settings: String, reason: String?) throws {
        let immovable = try moved(settings).immovable
        #expect(immovable.map(\.reason) == [reason].compactMap { $0 }, "\(settings)")
        #expect(immovable.allSatisfy { $0.module == "m" && $0.host == "far" })
    }
}
