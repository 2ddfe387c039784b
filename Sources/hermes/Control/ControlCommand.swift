/// What `pause`, `step`, `stop` and the like have in common.
enum ControlCommand {
    /// Gives a command to a simulation, waits until it has taken effect and says at which frame.
    static func give(_ request: ControlRequest, to name: String?, done: String) throws {
        let name = try RunningSimulation.find(name)
        let reply = try ControlClient(name: name).ask(request)
        Console().note("\(name): \(done)" + (reply.frame.map { " frame \($0)" } ?? ""))
    }
}
