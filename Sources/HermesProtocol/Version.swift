/// Of everything that comes in one package.
public let hermesVersion = "0.2.0"
