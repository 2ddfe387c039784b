/// A place in the text that is being read; line and column count from 1, columns in characters.
struct Mark: Hashable, Comparable, Sendable {
    var line: Int
    var column: Int

    static let start = Mark(line: 1, column: 1)

    static func < (left: Self, right: Self) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// A value together with the place it was read from.
struct Located<Value> {
    var value: Value
    var mark: Mark
}

extension Located: Sendable where Value: Sendable {}

/// One value of a YAML document, with its place. Values reached through an alias keep the place of their anchor.
struct Node: Sendable {
    enum Content: Sendable {
        case scalar(Scalar)
        case sequence([Node])
        case mapping([Entry])
    }

    struct Entry: Sendable {
        var key: String
        var keyMark: Mark
        var value: Node
    }

    var mark: Mark
    var content: Content
}
