import ArgumentParser
import CLinux
import Glibc
import HermesModel
import HermesProtocol
import HermesSystem

@main
struct Hermes: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hermes",
        abstract: "Runs one simulation as many module processes, in lock-step frames.",
        discussion: """
            A first run:  hermes run Examples/basic_sim.yaml
            Exit codes:   0 completed, 1 configuration invalid, 2 simulation failed, 64 wrong usage, 130 interrupted.
            """,
        version: hermesVersion,
        subcommands: [
            Run.self, Validate.self, PlanCommand.self, Verify.self, ListSignals.self, Status.self, Get.self,
            SetValues.self,
            Pause.self, Resume.self,
            Step.self, Mode.self, Reset.self, Stop.self, Nodes.self, Push.self, Keygen.self, Bench.self, Doctor.self,
            New.self,
        ]
    )

    /// Failures of commands end here, each kind with its exit code.
    static func main() {
        linux_reset_inherited()
        linux_adopt_orphans()
        do {
            var command = try parseAsRoot(ProcessArguments.texts)
            try command.run()
        } catch let error as ConfigurationError {
            for diagnostic in error.diagnostics { Console().diagnostic(diagnostic) }
            end(ExitCode(1))
        } catch let error as SystemError {
            Console().error(error.description)
            end(ExitCode(2))
        } catch let failure as RunFailure {
            Console().error(failure.description)
            end(ExitCode(2))
        } catch {
            end(error)
        }
        end(nil)
    }

    private static func end(_ error: (any Error)?) -> Never {
        // What modules inside this process have started, and who holds its output.
        linux_end_children()
        let hasAllResults = Console.finish()
        guard let error else { exit(withError: hasAllResults ? ExitCode.success : ExitCode(2)) }
        let message = ByteString.shownLines(ofEncoded: fullMessage(for: error)), code = exitCode(for: error)
        if !message.isEmpty { try? ByteString(message + "\n").write(to: code == .success ? 1 : 2) }
        Glibc.exit(code.rawValue)
    }
}
