import HermesModel
import Testing

@Suite struct PathBeneathTests {
    @Test(arguments: ["a", "./a", "a/b", "a..b", "..a", "a/.../b", ".", "a//b/", "-x", "ä ö"])
    func stays(path: String) { #expect(PathBeneath.fault(in: path) == nil) }

    @Test func leadsOut() {
        #expect(PathBeneath.fault(in: "/a") == "is absolute")
        for path in ["..", "../a", "a/..", "a/../b", "./../a"] { #expect(PathBeneath.fault(in: path) == "has a `..`") }
        #expect(PathBeneath.fault(in: "a\nb") == "has a control character")
        #expect(PathBeneath.fault(in: "") == "is empty")
        #expect(PathBeneath.fault(in: String(repeating: "a", count: 256)) == "is too long")
        #expect(PathBeneath.fault(in: String(repeating: "a/", count: 2001)) == "is too long")
    }

    @Test func oneTextForOnePlace() {
        #expect(["./a", "a/", "a", ".//a/."].allSatisfy { PathBeneath.tidied($0) == "a" })
        #expect(PathBeneath.tidied("./a//b/./c.txt") == "a/b/c.txt")
        #expect(PathBeneath.tidied(".") == "" && PathBeneath.tidied("..a") == "..a")
    }
}
