import Foundation
import Glibc
import HermesSystem
import Testing

@Suite struct LimitTests {
    @Test func aThreadRunsWhatItIsGiven() throws {
        let seen = Monitor(0)
        let thread = try startThread("a test") { seen.with { $0 = 7 } }
        pthread_join(thread, nil)
        #expect(seen.with { $0 } == 7)
    }

    @Test func aLimitIsNamedWithItsCure() {
        let start = SystemError(starting: "a thread for the recording", code: EAGAIN).description
        #expect(start.hasPrefix("can't start a thread for the recording: this user or control group has as many"))
        #expect(start.contains("ulimit -u") && start.contains("pids.max"))
        // Of other calls it only says to try again.
        #expect(!SystemError("can't read", code: EAGAIN).description.contains("ulimit"))
        for (code, cure) in [
            (EMFILE, "ulimit -n"), (ENFILE, "fs.file-max"), (ENOMEM, "ulimit -v"), (EFBIG, "ulimit -f"),
            (EDQUOT, "quota"),
        ] {
            #expect(SystemError("can't", code: code).description.contains(cure))
            #expect(SystemError(starting: "it", code: code).description.contains(cure))
        }
    }

    @Test func aPipeWakesOnceForManyCallsAndNeverWaits() throws {
        let pipe = try WakePipe()
        var watched = [pollfd(fd: pipe.descriptor, events: Int16(POLLIN), revents: 0)]
        #expect(try pollDescriptors(&watched, milliseconds: 0) == 0)
        for _ in 0..<200_000 { pipe.wake() }
        #expect(try pollDescriptors(&watched, milliseconds: 0) == 1)
        pipe.drain()
        #expect(try pollDescriptors(&watched, milliseconds: 0) == 0)
    }
}
