import ArgumentParser

struct New: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a folder to start from.",
        subcommands: [NewModule.self])
}

struct NewModule: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "module",
        abstract: "Make a module that builds, runs and tests itself, in one of five languages.",
        discussion: """
            Makes the folder NAME here, with the source, a Makefile, a configuration and a README. Then: cd NAME, make test.
            Examples:
              hermes new module fuel-tank --lang c
              hermes new module autopilot --lang python
            """)

    @Argument(help: "The module's name: a letter, then letters, digits, - and _.", transform: textArgument)
    var name: String
    @Option(help: ArgumentHelp("The language.", valueName: "language"))
    var lang: ModuleTemplate.Language

    func validate() throws {
        guard ModuleTemplate.isValidName(name) else {
            throw ValidationError("NAME is a letter, then at most 63 letters, digits, - and _, not '\(name)'")
        }
    }

    func run() throws {
        let template = try ModuleTemplate(language: lang)
        let files = try template.make(name, in: ".")
        Console().result(files.map { "\(name)/\($0)" }.joined(separator: "\n"))
        Console().note("next: cd \(name) && make test")
    }
}

extension ModuleTemplate.Language: ExpressibleByArgument {}
