import CYAML

/// The library that reads the text.
public enum YAMLLibrary {
    public static var version: String { String(cString: yaml_get_version_string()) }
}
