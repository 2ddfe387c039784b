// swift-tools-version: 6.1
import PackageDescription

let hermes = Context.environment["HERMES_SWIFT"] ?? "{{swift}}"

let package = Package(
    name: "{{name}}",
    dependencies: [.package(name: "hermes", path: hermes)],
    targets: [
        .executableTarget(name: "{{name}}", dependencies: [.product(name: "HermesModule", package: "hermes")])
    ],
    swiftLanguageModes: [.v6]
)
