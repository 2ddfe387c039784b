/// Public keys of CurveZMQ as text: 40 characters of Z85 (ZeroMQ RFC 32) for 32 bytes, a point of Curve25519.
public enum PublicKey {
    /// True for 40 characters of the alphabet that stand for 32 bytes.
    public static func isKey(_ text: String) -> Bool { bytes(of: text) != nil }

    /// False for what is certainly no public key. Each of those is a multiple of one point, which 31 of 32 secret keys,
    /// chance numbers, are not.
    public static func canBePublic(_ text: String) -> Bool {
        guard let bytes = bytes(of: text), bytes[31] & 0x80 == 0 else { return false }
        let u = FieldElement(bytes)
        // v^2 = u^3 + 486662 u^2 + u has a solution: the point is of the curve and not of its twist.
        let square = u * (u * (u + FieldElement(486_662)) + FieldElement(1))
        guard square.isSquare else { return false }
        return u.isOfPrimeOrder
    }

    private static let alphabet = Array(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)
    private static let digits = Dictionary(uniqueKeysWithValues: alphabet.enumerated().map { ($1, UInt64($0)) })

    private static func bytes(of text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count == 40 else { return nil }
        var bytes: [UInt8] = []
        for group in stride(from: 0, to: 40, by: 5) {
            var value: UInt64 = 0
            for character in characters[group..<group + 5] {
                guard let digit = digits[character] else { return nil }
                value = value * 85 + digit
            }
            guard value <= UInt64(UInt32.max) else { return nil }
            bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
        }
        return bytes
    }
}

/// A number modulo 2^255 - 19, four words of 64 bits, the lowest first. Of public values only: it takes its time as they are.
private struct FieldElement: Equatable {
    private var words: [UInt64]

    private static let modulus: [UInt64] = [0xFFFF_FFFF_FFFF_FFED, .max, .max, 0x7FFF_FFFF_FFFF_FFFF]

    init(_ value: UInt64) { words = [value, 0, 0, 0] }

    /// Little-endian.
    init(_ bytes: [UInt8]) {
        words = (0..<4).map { word in (0..<8).reduce(0) { $0 | UInt64(bytes[word * 8 + $1]) << UInt64(8 * $1) } }
        reduce()
    }

    private mutating func reduce() {
        while !words.lexicographicallyLess(than: Self.modulus) { _ = words.subtract(Self.modulus) }
    }

    static func + (left: FieldElement, right: FieldElement) -> FieldElement {
        var sum = left
        // Both are below 2^255: no carry leaves the four words.
        _ = sum.words.add(right.words)
        sum.reduce()
        return sum
    }

    static func - (left: FieldElement, right: FieldElement) -> FieldElement {
        var difference = left
        if difference.words.subtract(right.words) { _ = difference.words.add(modulus) }
        return difference
    }

    static func * (left: FieldElement, right: FieldElement) -> FieldElement {
        var product = [UInt64](repeating: 0, count: 8)
        for i in 0..<4 {
            var carry: UInt64 = 0
            for j in 0..<4 {
                let (high, low) = left.words[i].multipliedFullWidth(by: right.words[j])
                let (first, one) = low.addingReportingOverflow(carry)
                let (second, two) = first.addingReportingOverflow(product[i + j])
                product[i + j] = second
                carry = high + (one ? 1 : 0) + (two ? 1 : 0)
            }
            product[i + 4] = carry
        }
        // 2^256 is 38.
        while product[4...].contains(where: { $0 != 0 }) {
            var folded = Array(product[..<4]) + [0, 0, 0, 0]
            var carry: UInt64 = 0
            for i in 0..<4 {
                let (high, low) = product[i + 4].multipliedFullWidth(by: 38)
                let (first, one) = low.addingReportingOverflow(carry)
                let (second, two) = first.addingReportingOverflow(folded[i])
                folded[i] = second
                carry = high + (one ? 1 : 0) + (two ? 1 : 0)
            }
            folded[4] = carry
            product = folded
        }
        var result = FieldElement(0)
        result.words = Array(product[..<4])
        result.reduce()
        return result
    }

    /// By Euler: x^((p - 1) / 2) is 1.
    var isSquare: Bool {
        // (p - 1) / 2 = 2^254 - 10
        let exponent: [UInt64] = [0xFFFF_FFFF_FFFF_FFF6, .max, .max, 0x3FFF_FFFF_FFFF_FFFF]
        var power = FieldElement(1)
        for bit in (0..<254).reversed() {
            power = power * power
            if exponent[bit / 64] >> UInt64(bit % 64) & 1 == 1 { power = power * self }
        }
        return power == FieldElement(1)
    }

    /// As the u of a point: its multiple by the order of the base point is infinity. The ladder of RFC 7748, section 5.
    var isOfPrimeOrder: Bool {
        let order: [UInt64] = [0x5812_631A_5CF5_D3ED, 0x14DE_F9DE_A2F7_9CD6, 0, 0x1000_0000_0000_0000]
        var x2 = FieldElement(1), z2 = FieldElement(0), x3 = self, z3 = FieldElement(1)
        var isSwapped = false
        for bit in (0..<253).reversed() {
            let isOne = order[bit / 64] >> UInt64(bit % 64) & 1 == 1
            if isOne != isSwapped { (x2, z2, x3, z3) = (x3, z3, x2, z2) }
            isSwapped = isOne
            let a = x2 + z2, b = x2 - z2, c = x3 + z3, d = x3 - z3
            let aa = a * a, bb = b * b, e = aa - bb, da = d * a, cb = c * b
            let sum = da + cb, difference = da - cb
            (x3, z3) = (sum * sum, self * (difference * difference))
            (x2, z2) = (aa * bb, e * (aa + FieldElement(121_665) * e))
        }
        return (isSwapped ? z3 : z2) == FieldElement(0) && self != FieldElement(0)
    }
}

extension [UInt64] {
    fileprivate func lexicographicallyLess(than other: [UInt64]) -> Bool {
        for index in indices.reversed() where self[index] != other[index] { return self[index] < other[index] }
        return false
    }

    /// True when a carry is left.
    fileprivate mutating func add(_ other: [UInt64]) -> Bool {
        var carry: UInt64 = 0
        for index in indices {
            let (first, one) = self[index].addingReportingOverflow(other[index])
            let (second, two) = first.addingReportingOverflow(carry)
            self[index] = second
            carry = (one ? 1 : 0) + (two ? 1 : 0)
        }
        return carry != 0
    }

    /// True when a borrow is left.
    fileprivate mutating func subtract(_ other: [UInt64]) -> Bool {
        var borrow: UInt64 = 0
        for index in indices {
            let (first, one) = self[index].subtractingReportingOverflow(other[index])
            let (second, two) = first.subtractingReportingOverflow(borrow)
            self[index] = second
            borrow = (one ? 1 : 0) + (two ? 1 : 0)
        }
        return borrow != 0
    }
}
