import HermesModel

/// Values of one frame as `hermes get` prints them.
struct SignalSample {
    var simulation: String
    var frame: UInt64
    var time: Double
    var values: [(name: String, bits: UInt64, type: SignalType)]

    var onlyValue: String { values.first.map { SignalValue.text($0.bits, $0.type) } ?? "" }

    var text: String { values.map { "\($0.name)=\(SignalValue.text($0.bits, $0.type))" }.joined(separator: "\n") }

    var json: JSONValue {
        [
            "name": .text(simulation), "frame": .integer(frame), "time": .double(time),
            "values": .object(values.map { JSONMember(key: $0.name, value: .signal($0.bits, $0.type)) }),
        ]
    }
}
