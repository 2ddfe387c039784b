import Glibc

/// A signal as people read it: `signal 9 (SIGKILL)`.
func signalWords(_ number: Int32) -> String {
    let name =
        switch number {
        case SIGABRT: "SIGABRT"
        case SIGBUS: "SIGBUS"
        case SIGFPE: "SIGFPE"
        case SIGHUP: "SIGHUP"
        case SIGILL: "SIGILL"
        case SIGINT: "SIGINT"
        case SIGKILL: "SIGKILL"
        case SIGPIPE: "SIGPIPE"
        case SIGSEGV: "SIGSEGV"
        case SIGTERM: "SIGTERM"
        default: "\(String(cString: strsignal(number)))"
        }
    return "signal \(number) (\(name))"
}
