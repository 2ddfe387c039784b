import Glibc
import HermesModel
import HermesNode
import HermesProtocol
import HermesSystem

/// What a host is and does, as `hermes nodes` tells it.
struct HostReport: Sendable {
    struct Standing: Sendable {
        var welcome: Welcome
        /// Median of the pings.
        var roundTripSeconds: Double
        /// The node's wall clock less this one's, by the ping that came back soonest; it may be wrong by half its time.
        var clockOffsetSeconds: Double
        var clockErrorSeconds: Double
        /// From this machine, in what changes the last bits of exp, sin and their like.
        var differences: [String]
    }

    var host: Host
    var standing: Result<Standing, HostTrouble>

    static let pings = 15

    /// Asks all at once.
    static func all(_ hosts: [Host], _ calls: HostCalls) -> [HostReport] {
        let here = ThisMachine.machine
        let standings = calls.each { try Standing($0, here) }
        return zip(hosts, standings).map { HostReport(host: $0, standing: $1) }
    }
}

extension HostReport.Standing {
    init(_ call: HostCall, _ here: Machine) throws {
        var trips: [(seconds: Double, offset: Double)] = []
        for _ in 0..<HostReport.pings {
            let began = ThisMachine.clockNanoseconds, start = monotonicNow()
            let pong: Pong = try call.ask("ping", ControlMessage.Nothing(), seconds: HostCall.meetingSeconds)
            let seconds = Double(monotonicNow() - start) / 1e9
            trips.append((seconds, Double(pong.clockNanoseconds - began) / 1e9 - seconds / 2))
        }
        trips.sort { $0.seconds < $1.seconds }
        welcome = call.welcome
        roundTripSeconds = trips[trips.count / 2].seconds
        clockOffsetSeconds = trips[0].offset
        clockErrorSeconds = trips[0].seconds / 2
        differences = call.welcome.machine.differences(from: here, of: "this machine")
    }
}
