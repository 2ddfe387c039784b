import CKeeper
import HermesSystem

/// Forks the keeper; before a program has threads.
/// - Throws: `SystemError` when there is no process for it.
public func startKeeper() throws(SystemError) -> keeper {
    var started = keeper()
    let code = keeper_start(&started)
    guard code == 0 else { throw SystemError(starting: "the process that ends modules", code: code) }
    return started
}
