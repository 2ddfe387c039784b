// swift-tools-version: 6.1
import PackageDescription

// One box of docs/architecture.md is one target here; a target may import what its line names and nothing else.
// Without contraction: (source * gain) + offset is rounded twice on every machine.
let publicHeaders = CSetting.unsafeFlags(["-I", Context.packageDirectory + "/include", "-ffp-contract=off"])
let importsHeaders = SwiftSetting.unsafeFlags(["-Xcc", "-I" + Context.packageDirectory + "/include"])
let warnings: [SwiftSetting] =
    Context.environment["HERMES_WARNINGS_AS_ERRORS"] == nil ? [] : [.unsafeFlags(["-warnings-as-errors"])]

func swift(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil) -> Target {
    .target(name: name, dependencies: dependencies, path: path, swiftSettings: [importsHeaders] + warnings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, resources: resources, swiftSettings: [importsHeaders] + warnings)
}

let package = Package(
    name: "hermes",
    products: [
        .library(name: "HermesModule", targets: ["HermesModule"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // The weak main belongs to modules, not to our programs; inproc modules find hermes_* in the program itself.
        .target(
            name: "CHermes", exclude: ["weak_main.c"], cSettings: [publicHeaders],
            linkerSettings: [
                .linkedLibrary("dl"), .linkedLibrary("pthread"), .unsafeFlags(["-Xlinker", "--export-dynamic"]),
            ]),
        .target(name: "CLinux"),
        .target(name: "CKeeper", dependencies: ["CLinux"]),
        // No pkg-config: libzmq's names folders of Kerberos that SwiftPM warns about and nobody needs.
        .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
        .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        swift("HermesSystem", ["CLinux"]),
        swift("HermesModel", ["HermesSystem"]),
        swift("HermesConfiguration", ["HermesModel", "HermesSystem", "CYAML"]),
        swift("HermesPlan", ["HermesModel", "HermesSystem"]),
        swift("HermesBackplane", ["HermesModel", "HermesPlan", "HermesSystem", "CHermes"]),
        swift("HermesProtocol", ["HermesModel", "HermesPlan", "HermesSystem"]),
        swift(
            "HermesTransport",
            ["HermesModel", "HermesPlan", "HermesProtocol", "HermesSystem", "CZeroMQ", "CSodium"]),
        swift("HermesTiming", ["HermesProtocol", .product(name: "Histogram", package: "hdrhistogram-swift")]),
        swift(
            "HermesNode",
            [
                "HermesModel", "HermesPlan", "HermesProtocol", "HermesTransport", "HermesBackplane", "HermesTiming",
                "HermesSystem", "CHermes", "CKeeper", "CLinux",
            ]),
        swift(
            "HermesCoordinator",
            [
                "HermesModel", "HermesPlan", "HermesProtocol", "HermesTransport", "HermesTiming", "HermesSystem",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ]),
        .executableTarget(
            name: "hermes",
            dependencies: [
                "HermesModel", "HermesConfiguration", "HermesPlan", "HermesProtocol", "HermesTransport", "HermesNode",
                "HermesCoordinator", "HermesRecorder", "HermesTiming", "HermesSystem", "CHermes", "CKeeper", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["Templates"], swiftSettings: [importsHeaders] + warnings),
        .executableTarget(
            name: "hermes-node",
            dependencies: [
                "HermesNode", "HermesTransport", "HermesProtocol", "HermesSystem", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/hermes-node", swiftSettings: [importsHeaders] + warnings),
        swift("HermesRecorder", ["HermesModel", "HermesPlan", "HermesProtocol", "HermesSystem"]),
        tests("hermesTests", ["hermes", "HermesModel"]),
        tests("HermesModuleTests", ["HermesModule", "HermesBackplane", "HermesPlan", "HermesModel"]),
        tests("HermesSystemTests", ["HermesSystem"]),
        tests("HermesModelTests", ["HermesModel", "HermesSystem"]),
        tests(
            "HermesConfigurationTests", ["HermesConfiguration", "HermesModel", "HermesSystem"],
            resources: [.copy("Malformed"), .copy("Valid"), .copy("Desk")]),
        tests("HermesPlanTests", ["HermesPlan", "HermesModel"]),
        tests("HermesProtocolTests", ["HermesProtocol", "HermesPlan", "HermesModel"]),
        tests(
            "HermesTransportTests",
            ["HermesTransport", "HermesProtocol", "HermesPlan", "HermesModel", "HermesSystem"]),
        tests(
            "HermesNodeTests",
            [
                "HermesNode", "HermesTransport", "HermesProtocol", "HermesPlan", "HermesModel", "HermesSystem",
                "CHermes",
                "CKeeper",
            ],
            resources: [.copy("Modules")]),
        tests("HermesTimingTests", ["HermesTiming", "HermesProtocol"]),
        tests(
            "HermesRecorderTests",
            ["HermesRecorder", "HermesProtocol", "HermesPlan", "HermesModel", "HermesSystem"]),
        tests(
            "HermesCoordinatorTests",
            ["HermesCoordinator", "HermesTiming", "HermesProtocol", "HermesPlan", "HermesModel", "HermesSystem"]),
        tests("HermesBackplaneTests", ["HermesBackplane", "HermesPlan", "HermesModel", "CHermes"]),
        swift("HermesModule", ["CHermes"]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)
