import ArgumentParser
import HermesSystem

/// Paths and endpoints, taken as the system gives them.
extension ByteString: ExpressibleByArgument {
    public init?(argument: String) { self.init(encodedText: argument) }
    public var defaultValueDescription: String { description }
}
