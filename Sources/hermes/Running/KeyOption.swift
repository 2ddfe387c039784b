import ArgumentParser
import HermesSystem

/// The key of whoever speaks to nodes.
struct KeyOption: ParsableArguments {
    @Option(
        help: ArgumentHelp("Your secret key, made with `hermes keygen`; for hosts with a `key:`.", valueName: "file"))
    var key: ByteString?
}
