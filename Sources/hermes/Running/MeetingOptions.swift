import ArgumentParser

/// What commands need to speak to nodes on other hosts.
struct MeetingOptions: ParsableArguments {
    @OptionGroup var keyOption: KeyOption
    @Option(help: ArgumentHelp("Seconds to wait for nodes that are not there yet.", valueName: "seconds"))
    var wait = 10.0

    func validate() throws {
        guard wait >= 0, wait < 1e6 else { throw ValidationError("--wait is a number of seconds from 0 up") }
    }

    var meeting: RunNodes.Meeting { RunNodes.Meeting(keyFile: keyOption.key, graceSeconds: wait) }
}
