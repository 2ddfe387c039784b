/// One entry of `hosts:`.
struct HostDecoder {
    let findings: Findings

    func decode(_ entry: Node.Entry) -> HostDraft {
        var draft = HostDraft(name: Located(value: entry.key, mark: entry.keyMark))
        guard let fields = Fields(entry.value, .host, of: "host \(quoted(entry.key))", findings: findings) else {
            return draft
        }
        draft.endpoint = fields.text("endpoint")
        if fields.lacks("endpoint") {
            findings.error(
                entry.keyMark,
                "host \(quoted(entry.key)) has no `endpoint`; write where its hermes-node listens, as `tcp://10.0.0.2:7600`"
            )
        }
        draft.key = fields.text("key")
        draft.hasKey = fields.has("key")
        draft.mirror = fields.text("mirror")
        draft.cpus = fields.cpus("cpus")
        return draft
    }
}
