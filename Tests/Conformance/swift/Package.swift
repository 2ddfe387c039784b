// swift-tools-version: 6.1
import PackageDescription

// HERMES_SWIFT: a checkout, or PREFIX/share/hermes/swift of an installed tree.
let hermes = Context.environment["HERMES_SWIFT"] ?? Context.packageDirectory + "/../../.."

let package = Package(
    name: "conformer",
    dependencies: [.package(name: "hermes", path: hermes)],
    targets: [
        .executableTarget(name: "conformer", dependencies: [.product(name: "HermesModule", package: "hermes")])
    ],
    swiftLanguageModes: [.v6]
)
