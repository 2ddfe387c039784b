import Glibc
import HermesModel
import HermesSystem

/// The files that desk modules name; those of named hosts are looked for by their nodes, and must lie beneath their roots.
struct FileCheck {
    let findings: Findings
    let paths: DeskPaths

    func check(_ draft: SimulationDraft) {
        for module in draft.modules {
            let named = [
                (module.program, module.programKey), (module.configuration, "config"),
                (module.workingDirectory, "working_dir"),
            ]
            for (path, key) in named + module.files.map({ ($0, "files") }) {
                guard let path else { continue }
                if path.value.isEmpty {
                    findings.error(path.mark, "`\(key)` is empty; write a path")
                } else if path.value.utf8.contains(0) {
                    continue  // Reported where it was read; the system would look for what stands before the NUL.
                } else if let host = module.host {
                    checkBeneath(path, key, host.value)
                } else {
                    check(
                        path, key,
                        mustRun: key == module.programKey && Self.isStarted(ByteString(path.value), module.kind))
                }
            }
        }
    }

    private func checkBeneath(_ path: Located<String>, _ key: String, _ host: String) {
        guard let fault = PathBeneath.fault(in: ByteString(path.value)) else { return }
        findings.error(
            path.mark,
            "`\(key)`: \(quoted(path.value)) \(fault); on host \(quoted(host)) paths start at its node's module root and stay beneath it"
        )
    }

    /// Shared objects are loaded and Python scripts are read; everything else is executed.
    static func isStarted(_ path: ByteString, _ kind: Module.Kind?) -> Bool {
        switch kind {
        case .process: true
        case .script: !path.hasSuffix(".py")
        case .inproc, nil: false
        }
    }

    private func check(_ path: Located<String>, _ key: String, mustRun: Bool) {
        let full = paths.absolute(ByteString(path.value))
        let kind = FileKind(path: full)
        let wanted: FileKind =
            key == "working_dir" || key == "files" && kind == .directory ? .directory : .regular
        let subject = "`\(key)`: \(quoted(path.value))"
        switch kind {
        case .missing:
            let start = ByteString(path.value).isAbsolutePath ? "" : " (looked for from this file's folder)"
            findings.error(path.mark, "\(subject) does not exist\(start)\(findings.suggestion(forMissing: full))")
        case .failure(let reason):
            findings.error(path.mark, "\(subject) cannot be reached: \(reason)")
        case _ where kind != wanted:
            findings.error(path.mark, "\(subject) is \(kind.noun), not \(wanted.noun)")
        case _
        where access(full.cString, wanted == .directory ? X_OK : R_OK) != 0
            && !(mustRun && access(full.cString, X_OK) == 0):
            findings.error(path.mark, "\(subject) cannot be read: \(errorText(errno))")
        case _ where mustRun && access(full.cString, X_OK) != 0 && !ProgramFile.isOnNoexec(full):
            let remedy =
                key == "script"
                ? "begin it with a `#!` line and make it executable with `chmod +x`" : "make it so with `chmod +x`"
            findings.error(path.mark, "\(subject) is not executable; \(remedy)")
        case _ where mustRun:
            if let fault = ProgramFile(full).fault {
                findings.error(path.mark, "\(subject) can't be started: \(fault)")
            }
        default: break
        }
    }
}
