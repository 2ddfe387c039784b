import HermesModel
import Testing

@Suite struct ConfiguredVariablesTests {
    private let list = ConfiguredVariables()

    @Test(arguments: [
        "PATH", "BASH_ENV", "ENV", "IFS", "NODE_OPTIONS", "NODE_PATH", "PERL5OPT", "PERL5LIB", "RUBYOPT", "RUBYLIB",
        "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "GCONV_PATH", "GLIBC_TUNABLES",
        "MALLOC_TRACE", "LOCPATH", "NLSPATH", "TMPDIR", "TZDIR", "HOME", "SHELL", "EDITOR", "PAGER", "GIT_SSH_COMMAND",
        "OMP_TOOL_LIBRARIES", "OPENSSL_CONF", "OPENSSL_MODULES", "JULIA_LOAD_PATH", "LUA_INIT", "R_PROFILE", "PHPRC",
        "SSH_AUTH_SOCK", "DISPLAY", "http_proxy", "PROMPT_COMMAND", "PS4", "SHELLOPTS", "XDG_CONFIG_HOME", "anything",
        "sim_mode", "SIM", "path",
    ]) func whatIsNotOnTheListIsRefusedWithItsCure(name: String) throws {
        let refusal = try #require(list.refusal(name, "x"))
        #expect(refusal.contains(name) && refusal.contains("--allow-env \(name)") && refusal.contains("SIM_"))
        #expect(ConfiguredVariables(allowed: [name]).refusal(name, "x") == nil)
    }

    @Test(arguments: [
        "SIM_MODE", "MODULE_LOG", "MODEL_TABLE", "APP_X", "OMP_NUM_THREADS", "NO_COLOR", "RUST_LOG", "SIM_",
    ])
    func settingsOfModulesPass(name: String) { #expect(list.refusal(name, "/any:value") == nil) }

    @Test func namesThatNobodyCanAllow() {
        for name in ["LD_PRELOAD", "LD_X", "PYTHONPATH", "PYTHONHASHSEED", "HERMES_PYTHON", "HERMES_"] {
            #expect(list.refusal(name, "x")?.contains("for hermes-node itself") == true)
            #expect(ConfiguredVariables(allowed: [name, "L*", "P*", "H*"]).refusal(name, "x") != nil)
            #expect(ConfiguredVariables.fault(ofAllowed: name) != nil)
        }
    }

    @Test func whatAnOperatorAllows() {
        let wider = ConfiguredVariables(allowed: ["ICARUS_*", "PATH"])
        #expect(wider.refusal("ICARUS_LOG", "x") == nil)
        #expect(wider.refusal("PATH", "/bin") == nil)
        #expect(wider.refusal("PATHS", "x") != nil)
        #expect(wider.refusal("ICARUS", "x") != nil)
        for word in ["A", "A*", "_x1*"] { #expect(ConfiguredVariables.fault(ofAllowed: word) == nil) }
        for word in ["", "*", "A-B", "1A", "A*B", "A=b", "A\u{301}", "LD_*", "HERMES_X*"] {
            #expect(ConfiguredVariables.fault(ofAllowed: word) != nil, "\(word)")
        }
    }

    @Test func aLocaleOrTimeZoneNamesNoFile() {
        #expect(list.refusal("LC_ALL", "de_DE.UTF-8") == nil)
        #expect(list.refusal("TZ", "Europe/Berlin") == nil)
        for (name, value) in [("LC_ALL", "/tmp/x"), ("LANG", "../x"), ("TZ", ":/etc/x"), ("TZ", "/x"), ("TZ", "../x")] {
            #expect(list.refusal(name, value)?.contains(name) == true)
        }
    }

    @Test func whatIsNoName() {
        for name in ["", "A=B", "SIM_A=B", "SIM_\0", "SIM_A B", "1", "SIM_\u{E9}", "BASH_FUNC_x%%"] {
            #expect(list.refusal(name, "x") != nil)
        }
        #expect(list.refusal("SIM_X", "a\0b") != nil)
    }
}
