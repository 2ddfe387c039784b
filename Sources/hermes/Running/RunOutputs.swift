import ArgumentParser
import HermesModel
import HermesProtocol
import HermesSystem

/// The files that a command writes, opened before anything starts.
struct RunOutputs {
    private let files: OutputFiles
    var recording: OutputFile?
    var trace: OutputFile?
    var summary: OutputFile?

    /// What a recording's file may be called.
    private static let recordingEndings = ["csv"]

    /// - Parameter configuration: the file that the simulation was read from.
    init(configuration: ByteString?, keyFile: ByteString?, _ simulation: Simulation?) {
        var inputs: [(what: String, path: ByteString)] = []
        if let configuration { inputs.append(("the configuration", configuration)) }
        if let keyFile { inputs.append(("the key", keyFile)) }
        if let simulation {
            // Those of other hosts lie here, too, where they are pushed from.
            let base = simulation.baseDirectory
            for module in simulation.modules {
                let named =
                    [("program", module.program), ("configuration", module.configuration)]
                    + module.files.map { ("file", $0) }
                for case (let what, let path?) in named as [(String, ByteString?)] {
                    inputs.append(("module \(module.name)'s \(what)", base.appendingPath(path)))
                }
            }
        }
        files = OutputFiles(inputs: inputs)
    }

    func open(_ path: ByteString, for option: String) throws -> OutputFile {
        try Self.orFail { () throws(OutputError) in try files.open(path, for: option) }
    }

    func openRecording(_ path: ByteString) throws -> OutputFile {
        try Self.orFail { () throws(OutputError) in
            try files.open(path, for: "--record", endings: Self.recordingEndings)
        }
    }

    /// Removes files that were made and are not wanted, for nothing ran.
    func discardUnused() { files.discardUnused() }

    /// What makes no sense is wrong usage; the rest is a failure.
    private static func orFail(_ body: () throws(OutputError) -> OutputFile) throws -> OutputFile {
        do throws(OutputError) {
            return try body()
        } catch {
            if error.kind == .usage { throw ValidationError(error.description) }
            throw RunFailure(error.kind == .isInUse ? .refused : .resource, cause: error.description)
        }
    }
}
