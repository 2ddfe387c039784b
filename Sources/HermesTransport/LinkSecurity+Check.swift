import HermesProtocol

extension LinkSecurity {
    /// False when no link can be made of it.
    /// - Parameter participants: how many take part.
    public func isSound(participants count: Int) -> Bool {
        guard let participants else { return publicKey == nil && secretKey == nil }
        let own = [publicKey, secretKey]
        return participants.count == count && participants.allSatisfy(CurveKeys.isKey)
            && own.allSatisfy { $0.map(CurveKeys.isKey) ?? false }
    }
}
