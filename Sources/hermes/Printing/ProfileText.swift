import HermesCoordinator
import HermesModel

/// `hermes run --profile` as tables.
enum ProfileText {
    static func text(_ profile: RunProfile) -> String {
        let modules = Table(
            header: ["module", "host", "frames", "execute mean", "p99", "max", "share", "waited, mean"],
            rows: profile.modules.map { module in
                [module.module, module.host, "\(module.frames)"] + spent(module.execute)
                    + [decimals(module.wait_mean_us, 1)]
            })
        var rows: [[String]] = []
        // A desk without modules only coordinates.
        for host in profile.hosts where host.execute.max_us > 0 || host.mirror.max_us > 0 {
            let parts = [
                ("execute", host.execute), ("mirror", host.mirror), ("wake-ups, delivery", host.wait),
            ]
            for (part, time) in parts where part != "mirror" || profile.hosts.count > 1 {
                rows.append([host.host, "\(host.frames)", part] + spent(time))
            }
            for peer in host.peers {
                rows.append(
                    [
                        host.host, "", "  values of \(peer.host)", decimals(peer.wait_mean_us, 1), "",
                        decimals(peer.wait_max_us, 1),
                    ])
            }
        }
        rows.append(["desk", "\(profile.frames)", "coordinator"] + spent(profile.coordinator))
        rows.append(["", "\(profile.frames)", "the whole frame"] + spent(profile.frame))
        let hosts = Table(header: ["host", "frames", "part", "mean", "p99", "max", "share"], rows: rows)
        return "microseconds a frame; shares of the time of all frames\n\(modules.text)\n\n\(hosts.text)"
    }

    private static func spent(_ time: RunProfile.Spent) -> [String] {
        [
            decimals(time.mean_us, 1), decimals(time.p99_us, 1), decimals(time.max_us, 1),
            "\(decimals(time.share * 100, 1)) %",
        ]
    }
}
