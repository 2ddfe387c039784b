import HermesProtocol

extension LinkSecurity {
    /// False when no link can be made of it.
    /// - Parameter participants: how many take part.
    public func isSound(participants count: Int) -> Bool {
        guard (16...64).contains(token.utf8.count), token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return false
        }
        guard let participants else { return publicKey == nil && secretKey == nil }
        let own = [publicKey, secretKey]
        return participants.count == count && participants.allSatisfy(CurveKeys.isKey)
            && own.allSatisfy { $0.map(CurveKeys.isKey) ?? false }
    }
}
