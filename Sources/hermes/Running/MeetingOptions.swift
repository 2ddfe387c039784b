import ArgumentParser

/// What commands need to speak to nodes on other hosts.
struct MeetingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Your secret key, made with `hermes keygen`; for hosts with a `key:`.", valueName: "file"))
    var key: String?
    @Option(help: ArgumentHelp("Seconds to wait for nodes that are not there yet.", valueName: "seconds"))
    var wait = 10.0

    func validate() throws {
        guard wait >= 0, wait < 1e6 else { throw ValidationError("--wait is a number of seconds from 0 up") }
    }

    var meeting: RunNodes.Meeting { RunNodes.Meeting(keyFile: key, graceSeconds: wait) }
}
