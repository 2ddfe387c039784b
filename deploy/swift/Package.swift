// swift-tools-version: 6.1
import PackageDescription

// What `make install` puts into PREFIX/share/hermes/swift: the Swift SDK with the C library in source form, so that a Swift
// module is one program that needs no libhermes.so at run time.
let include = "-I" + Context.packageDirectory + "/include"

let package = Package(
    name: "hermes",
    products: [.library(name: "HermesModule", targets: ["HermesModule"])],
    targets: [
        .target(
            name: "CHermes", exclude: ["weak_main.c"], cSettings: [.unsafeFlags([include])],
            linkerSettings: [.linkedLibrary("dl"), .linkedLibrary("pthread")]),
        .target(name: "HermesModule", dependencies: ["CHermes"], swiftSettings: [.unsafeFlags(["-Xcc", include])]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)
