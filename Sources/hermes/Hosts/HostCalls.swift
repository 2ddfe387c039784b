import Glibc
import HermesModel
import HermesProtocol
import HermesSystem
import HermesTransport

/// The nodes of a configuration, all spoken to at once: a thread each.
final class HostCalls: Sendable {
    private let hosts: [Host]
    private let context: MessageContext
    private let control: NodeControl

    /// - Throws: `RunFailure` when the key can't be read.
    init(_ hosts: [Host], keyFile: ByteString?) throws {
        self.hosts = hosts
        do {
            context = try MessageContext()
            let keys = try keyFile.map { try CurveKeys.load(secretFile: $0) }
            control = try NodeControl(
                context, hosts.map { NodeControl.Node(name: $0.name, endpoint: $0.endpoint, publicKey: $0.key) },
                keys: keys, livenessSeconds: 2, waitsForNodes: false)
        } catch let error as TransportError {
            throw RunFailure(.refused, cause: error.description)
        }
    }

    func close() {
        control.close()
        context.close()
    }

    /// Does the same with every host, side by side; what came of it, in the order of the hosts.
    func each<Value: Sendable>(_ body: @escaping @Sendable (HostCall) throws -> Value) -> [Result<Value, HostTrouble>] {
        let results = Monitor<[Result<Value, HostTrouble>?]>(Array(repeating: nil, count: hosts.count))
        let threads = hosts.indices.compactMap { index in
            do throws(SystemError) {
                return try startThread("host \(hosts[index].name)") { [self] in
                    let result = Result { try body(call(index)) }.mapError { HostTrouble($0) }
                    results.with { $0[index] = result }
                }
            } catch {
                results.with { $0[index] = .failure(HostTrouble(error)) }
                return nil
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        return results.with { $0.map { $0! } }
    }

    /// Meets one host.
    private func call(_ index: Int) throws -> HostCall {
        var call = HostCall(host: hosts[index], control: control, index: index)
        call.welcome = try call.ask("hello", Hello(version: hermesVersion), seconds: HostCall.meetingSeconds)
        return call
    }
}

/// One host that answers.
struct HostCall: Sendable {
    /// For a node to answer its first question.
    static let meetingSeconds = 3.0

    let host: Host
    fileprivate let control: NodeControl
    /// Among the hosts that are called.
    let index: Int
    fileprivate(set) var welcome: Welcome!

    fileprivate init(host: Host, control: NodeControl, index: Int) {
        self.host = host
        self.control = control
        self.index = index
    }

    /// - Throws: what is wrong, as a `HostTrouble` or something it is made of.
    func ask<Question: MessageBody, Answer: MessageBody>(
        _ say: String, _ question: Question, seconds: Double
    ) throws -> Answer {
        let message = try control.answer(
            to: control.ask(index, say, question), until: deadline(after: seconds))
        do throws(UnsoundMessage) {
            return try message.read()
        } catch {
            throw HostTrouble("it answers '\(say)' with what can't be; does it run another version? \(error)")
        }
    }
}

/// Why nothing came of a host, without its name.
struct HostTrouble: Error, Sendable {
    var cause: String

    init(_ cause: String) { self.cause = cause }

    init(_ error: any Error) {
        switch error {
        case let trouble as HostTrouble: self = trouble
        case let missing as NodeControl.NoAnswer: cause = missing.cause
        case let refused as Refused: cause = refused.cause
        default: cause = "\(error)"
        }
    }
}
