import CYAML
import HermesModel
import HermesSystem

/// Bytes to nodes: one YAML document by libyaml's events, with anchors, aliases and merge keys resolved and everything
/// that could grow without bound held in bounds. Throws a Diagnostic where the text can't be read further; faults that
/// reading can go on from (duplicate keys) go to the findings.
final class NodeParser {
    /// Values within values, aliases followed.
    static let depthLimit = 100
    /// Values visited through aliases; each counts as often as it is reached.
    static let aliasLimit = 1_000_000

    let findings: Findings
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private var aliased = 0
    private var anchors: [ByteString: Anchor] = [:]

    private enum Anchor {
        case open
        case closed(Measured)
    }

    /// A node with what it costs to visit it all: the values in it and the levels it is deep.
    struct Measured {
        var node: Node
        var size: Int
        var height: Int
    }

    private init(findings: Findings) throws {
        self.findings = findings
        parser = .allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            throw Diagnostic(.error, at: findings.location(.start), "out of memory")
        }
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    /// The root of the only document in `bytes`; nil when there is none or it is empty.
    static func root(of bytes: [UInt8], findings: Findings) throws -> Node? {
        guard bytes.count <= ConfigurationFile.sizeLimit else {
            throw Diagnostic(.error, at: findings.location(.start), ConfigurationFile.tooLarge)
        }
        // libyaml would count a byte order mark as a column.
        let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...] : bytes[...]
        if let fault = TextCheck.firstFault(in: text) {
            throw Diagnostic(.error, at: findings.location(fault.mark), fault.message)
        }
        let parser = try NodeParser(findings: findings)
        return try text.withUnsafeBufferPointer { try parser.document($0) }
    }

    private func document(_ text: UnsafeBufferPointer<UInt8>) throws -> Node? {
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, text.baseAddress, text.count)
        var root: Node?
        var documents = 0
        while true {
            let event = try next()
            switch event.kind {
            case .documentStart:
                documents += 1
                if documents > 1 {
                    findings.error(
                        event.mark,
                        "a second document; a configuration is one document, so remove `---` and what follows it")
                    return root
                }
                root = try node(try next(), depth: 1).node
            case .streamEnd:
                return root
            default:
                continue
            }
        }
    }

    // MARK: - Nodes

    private func node(_ event: Event, depth: Int) throws -> Measured {
        guard depth <= Self.depthLimit else { throw tooDeep(event.mark) }
        if let anchor = event.anchor, event.kind != .alias { anchors[anchor.bytes] = .open }
        let result: Measured
        switch event.kind {
        case .alias:
            return try resolve(event, depth: depth)
        case .scalar(let scalar):
            if scalar.text.utf8.contains(0) {
                findings.error(event.mark, "text with a NUL character; remove the `\\0`")
            }
            result = Measured(node: Node(mark: event.mark, content: .scalar(scalar)), size: 1, height: 1)
        case .sequenceStart:
            result = try sequence(event, depth: depth)
        case .mappingStart:
            result = try mapping(event, depth: depth)
        default:
            throw Diagnostic(.error, at: findings.location(event.mark), "a value is missing here")
        }
        if let anchor = event.anchor { anchors[anchor.bytes] = .closed(result) }
        return result
    }

    private func sequence(_ start: Event, depth: Int) throws -> Measured {
        var items: [Node] = []
        var size = 1
        var height = 0
        while true {
            let event = try next()
            if event.kind == .sequenceEnd { break }
            let item = try node(event, depth: depth + 1)
            items.append(item.node)
            size += item.size
            height = max(height, item.height)
        }
        return Measured(node: Node(mark: start.mark, content: .sequence(items)), size: size, height: height + 1)
    }

    private func mapping(_ start: Event, depth: Int) throws -> Measured {
        var builder = MappingBuilder(findings: findings)
        while true {
            let event = try next()
            if event.kind == .mappingEnd { break }
            let isPlain = if case .scalar(let scalar) = event.kind { scalar.isPlain } else { false }
            let key = try node(event, depth: depth + 1)
            let value = try node(try next(), depth: depth + 1)
            builder.add(key: key.node, keyMark: event.mark, isPlainKey: isPlain, value: value)
        }
        builder.merge()
        // Merged values were reached through an alias or written in place: either way they are counted already.
        return Measured(
            node: Node(mark: start.mark, content: .mapping(builder.entries)), size: builder.size,
            height: builder.height + 1)
    }

    private func resolve(_ event: Event, depth: Int) throws -> Measured {
        let name = event.anchor ?? ""
        switch anchors[name.bytes] {
        case nil:
            throw Diagnostic(
                .error, at: findings.location(event.mark),
                "no anchor \(quoted("&" + name)) before this alias\(findings.suggestion(for: name, among: anchors.keys.sorted().compactMap(\.text)))"
            )
        case .open:
            throw Diagnostic(
                .error, at: findings.location(event.mark), "alias \(quoted("*" + name)) stands within its own anchor")
        case .closed(let target):
            aliased += target.size
            guard aliased <= Self.aliasLimit else {
                throw Diagnostic(
                    .error, at: findings.location(event.mark),
                    "aliases stand for more than \(Self.aliasLimit) values; write fewer of them")
            }
            guard depth + target.height - 1 <= Self.depthLimit else { throw tooDeep(event.mark) }
            return target
        }
    }

    private func tooDeep(_ mark: Mark) -> Diagnostic {
        Diagnostic(.error, at: findings.location(mark), "nested deeper than \(Self.depthLimit) levels")
    }

    // MARK: - Events

    private func next() throws -> Event {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxError() }
        defer { yaml_event_delete(&event) }
        return try Event(event, findings: findings)
    }

    private func syntaxError() -> Diagnostic {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "it can't be read"
        var message = "not valid YAML: \(problem)"
        var mark = Mark(state.problem_mark)
        if let context = state.context.map({ String(cString: $0) }) {
            let contextMark = Mark(state.context_mark)
            message += " \(context)"
            if contextMark != mark, contextMark != .start {
                message += " begun at \(contextMark.line):\(contextMark.column)"
            }
        }
        if state.problem_mark.line == 0, state.problem_mark.column == 0 { mark = Mark(state.mark) }
        if problem.hasPrefix("found character that cannot start any token") {
            message += "; indent with spaces, not tabs, and quote text that begins with `@`, `%` or a backquote"
        }
        return Diagnostic(.error, at: findings.location(mark), message)
    }
}
