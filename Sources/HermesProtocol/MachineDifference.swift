extension Machine {
    /// What makes equal modules compute other bits on other hosts: libc picks its variants of exp, sin and their like by
    /// the CPU, compilers pick instructions by architecture.
    ///
    /// One sentence for each kind of machine that is not like the first host's, none when all are alike.
    public static func differences(among hosts: [(name: String, machine: Machine)]) -> [String] {
        guard let first = hosts.first else { return [] }
        var kinds: [(names: [String], machine: Machine)] = []
        for host in hosts.dropFirst() where !host.machine.computesLike(first.machine) {
            if let known = kinds.firstIndex(where: { $0.machine.computesLike(host.machine) }) {
                kinds[known].names.append(host.name)
            } else {
                kinds.append(([host.name], host.machine))
            }
        }
        return kinds.map { names, machine in
            names.joined(separator: ", ") + ": "
                + machine.differences(from: first.machine, of: first.name).joined(separator: "; ")
        }
    }

    private func computesLike(_ other: Machine) -> Bool {
        architecture == other.architecture && libc == other.libc && Set(features) == Set(other.features)
    }

    /// One clause for each thing in which this machine is not like that of `name`.
    public func differences(from other: Machine, of name: String) -> [String] {
        var parts: [String] = []
        if architecture != other.architecture {
            parts.append("\(architecture), where \(name) is \(other.architecture)")
        }
        if libc != other.libc { parts.append("\(libc), where \(name) has \(other.libc)") }
        let more = features.filter { !other.features.contains($0) }
        if !more.isEmpty { parts.append("a CPU with \(more.joined(separator: " ")), which \(name) lacks") }
        let less = other.features.filter { !features.contains($0) }
        if !less.isEmpty { parts.append("a CPU without \(less.joined(separator: " ")), which \(name) has") }
        return parts
    }
}
