import ArgumentParser
import HermesSystem

/// Paths, taken as the system gives them.
extension ByteString: ExpressibleByArgument {
    public init?(argument: String) { self.init(encodedText: argument) }
    public var defaultValueDescription: String { description }
}

/// Names and values, which are text.
func textArgument(_ argument: String) throws -> String {
    let bytes = ByteString(encodedText: argument)
    guard let text = bytes.text else {
        throw ValidationError("'\(bytes)' is not UTF-8; names and values are text")
    }
    return text
}
