"""`execution.realtime`: what an overrun does, and priorities, CPUs and locked memory as the system tells of them."""
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, Running, segment_words, wait_for
from hosts import comm, hosts  # noqa: F401 (a fixture)
from test_faults import FINE, Settings, bench, children  # noqa: F401 (a fixture)

RESET_ON_FORK = 0x40000000
CPUS = sorted(os.sched_getaffinity(0))
FIRST, LAST = CPUS[0], CPUS[-1]


def may_be_realtime():
    """Whether processes started here may take a priority and lock memory."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))"
    return subprocess.run(["python3", "-c", code], capture_output=True).returncode == 0 and os.geteuid() == 0


def is_stopped(pid):
    """Whether every thread of a process stands still since SIGSTOP: the signal is sent before they all do."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


PERMITTED = pytest.mark.skipif(not may_be_realtime(), reason="no permission for SCHED_FIFO here: nothing of it was tried")
WITHOUT = ["setpriv", "--bounding-set=-sys_nice,-ipc_lock"]
CAN_DROP = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="takes root and setpriv")


def told(bench):
    return json.loads((bench.desk.folder / "summary.json").read_text())


def freeze(sim, module):
    """Stops a module's process for half its step timeout, many frames."""
    pid = sim.module_pid(module)
    os.kill(pid, signal.SIGSTOP)
    sim.says("waiting for", module)
    os.kill(pid, signal.SIGCONT)


# ---- Overruns ----------------------------------------------------------------------------------------------------

def frozen_once(bench, policy, grace=0, frames=60):
    """A run in which a module is frozen for some 8 of its frames."""
    with bench.live({"fine": FINE, "slow": "signal y"}, "--frames", frames, "--summary", bench.desk.folder / "summary.json",
                    rate_hz=10, step_timeout_s=1.6, realtime=f"{{ on_overrun: {policy}, grace_s: {grace} }}") as sim:
        sim.ready().frame(3)
        freeze(sim, "slow")
        return sim.finish(60)


@pytest.mark.parametrize("policy", ["catch_up", "slip", "skip"])
def test_overrun(bench, policy):
    done = frozen_once(bench, policy).expect(0)
    summary = told(bench)
    realtime = summary["realtime"]
    assert realtime["on_overrun"] == policy and realtime["grace_s"] == 0 and realtime["overruns_in_grace"] == 0
    assert done.recording.frames == list(range(61)), "frames are never left out"
    assert done.recording.column("fine.x")[-1] == "60"
    assert bench.ended == {"fine"}
    assert (realtime["skipped_deadlines"] >= 5) == (policy == "skip"), realtime
    assert (realtime["slipped_s"] > 0.4) == (policy == "slip"), realtime
    if policy == "catch_up":
        assert summary["overruns"] >= 4, "those that follow the late one are late themselves"
    else:
        assert summary["overruns"] >= 1


def test_an_overrun_ends_the_run(bench):
    done = frozen_once(bench, "stop", frames=1000).expect(2, "on_overrun: stop", "ms after its deadline")
    frames = done.recording.frames
    assert frames == list(range(len(frames))) and f"frame {frames[-1]}:" in done.stderr, "the late frame is complete"
    summary = told(bench)
    assert summary["outcome"] == "failed" and summary["overruns"] == 1
    assert f"frame {frames[-1]}" in summary["error"]
    assert bench.ended == {"fine"}


def test_the_grace_stops_nothing(bench):
    done = frozen_once(bench, "stop", grace=1000).expect(0)
    summary = told(bench)
    assert summary["overruns"] == 0 and summary["realtime"]["overruns_in_grace"] >= 1
    assert "in the grace" in done.stderr


# ---- Priorities, CPUs, memory ------------------------------------------------------------------------------------

def scheduling(thread):
    """(policy, priority, CPUs) of a thread, as the system tells."""
    policy = os.sched_getscheduler(thread) & ~RESET_ON_FORK
    return {os.SCHED_OTHER: "other", os.SCHED_FIFO: "fifo"}[policy], os.sched_getparam(thread).sched_priority, \
        sorted(os.sched_getaffinity(thread))


def status(pid, key):
    return next(line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(key))


def threads(pid):
    return {int(task): scheduling(int(task)) for task in os.listdir(f"/proc/{pid}/task")}


def realtime_threads(pid):
    return {task: how for task, how in threads(pid).items() if how[0] != "other"}


ASKED = f"{{ priority: 20, cpus: {{ coordinator: [{FIRST}], node: [{FIRST}], modules: [{LAST}] }}, lock_memory: true }}"
TROUBLE = "{{ type: process, executable: ./trouble, config: ./{}.trouble, {} }}"


@PERMITTED
def test_what_was_asked_is_what_the_system_tells(bench):
    bench.desk.write("mother.trouble", "signal y\nstep 2 child\n")
    bench.desk.write("script.py", "import hermes\n\nclass Script:\n    def step(self, dt):\n        pass\n")
    modules = {"fine": FINE, "mother": Settings(TROUBLE.format("mother", f"cpus: [{FIRST}, {LAST}]")),
               "script": Settings("{ type: script, script: ./script.py }")}
    with bench.live(modules, "--summary", bench.desk.folder / "summary.json", realtime=ASKED) as sim:
        sim.ready().frame(5)
        pids = {module: sim.module_pid(module) for module in modules}
        expected = {"fine": [LAST], "mother": sorted({FIRST, LAST}), "script": [LAST]}
        for module, pid in pids.items():
            # Only the thread that steps, and no thread or process that the module starts.
            assert realtime_threads(pid) == {pid: ("fifo", 19, expected[module])}, module
            assert int(status(pid, "VmLck")) > 0, module
            others = [how for task, how in threads(pid).items() if task != pid]
            assert others and all(how[0] == "other" for how in others), "libhermes's watcher"
        for child in children(pids["mother"]):
            assert scheduling(child)[:2] == ("other", 0)
        (frames,) = realtime_threads(sim.process.pid)
        assert realtime_threads(sim.process.pid) == {frames: ("fifo", 20, [FIRST])}
        assert all(how[2] == CPUS for task, how in threads(sim.process.pid).items() if task != frames)
        locked = int(status(sim.process.pid, "VmLck"))
        assert locked > 0
        for keeper in children(sim.process.pid):
            assert scheduling(keeper) == ("other", 0, CPUS) and status(keeper, "VmLck") == "0"
        line = sim.says("realtime:", "SCHED_FIFO 20", "SCHED_FIFO 19", "locked")
        assert f"CPU {FIRST}" in line
        slack = {name: int(Path(f"/proc/{pid}/timerslack_ns").read_text()) for name, pid in pids.items()}
        sim.command("stop")
        done = sim.finish(20).expect(0)
    assert "warning" not in done.stderr and "not permitted" not in done.stderr
    found = {thread.get("module"): thread for thread in told(bench)["realtime"]["threads"]}
    assert set(found) == {None, "fine", "mother", "script"}
    for module, thread in found.items():
        how = thread["found"]
        assert thread["host"] == "desk" and thread["refused"] == []
        assert thread["role"] == ("steps" if module else "frames")
        assert how["thread"] == (pids[module] if module else frames)
        assert (how["policy"], how["priority"]) == ("fifo", 19 if module else 20)
        assert how["cpus"] == (expected[module] if module else [FIRST]) == thread["asked"]["cpus"]
        assert how["locked_bytes"] > 0 and how["timer_slack_ns"] <= 1
        assert module is None or how["timer_slack_ns"] == slack[module]


@PERMITTED
def test_a_module_started_again_keeps_time_as_before(bench):
    with bench.live({"fine": FINE, "victim": "signal y"}, realtime=ASKED, on_module_error="restart") as sim:
        sim.ready().frame(5)
        pid = sim.module_pid("victim")
        os.kill(pid, signal.SIGKILL)
        sim.until(lambda: (now := sim.module_pid("victim")) != pid and realtime_threads(now) == {now: ("fifo", 19, [LAST])},
                  "the process in its place has the same priority and CPUs")
        sim.command("stop")
        sim.finish(20).expect(0)


def test_nothing_is_asked_in_another_mode(bench):
    config = bench.config({"fine": FINE}, mode="single_frame", realtime=ASKED)
    with Running(bench.desk, config, "--summary", bench.desk.folder / "summary.json") as sim:
        sim.says("realtime", "counts in realtime mode alone")
        sim.ready()
        assert realtime_threads(sim.module_pid("fine")) == {} == realtime_threads(sim.process.pid)
        sim.command("stop")
        sim.finish(20).expect(0)
    assert "realtime" not in told(bench)


def spin_ns(name):
    """How long its waits may look before they sleep, by docs/segment.md."""
    raw = Path(f"/dev/shm/hermes_{name}").read_bytes()
    control, = struct.unpack_from("<Q", raw, 40)
    return struct.unpack_from("<I", raw, control + 172)[0]


@pytest.fixture
def one_cpu():
    """Words before a command that let it have one CPU's worth of time."""
    name = f"hermes-test-{os.getpid()}"
    for folder, file, quota in ((f"/sys/fs/cgroup/{name}", "cpu.max", "100000 100000"),
                                (f"/sys/fs/cgroup/cpu/{name}", "cpu.cfs_quota_us", "100000")):
        folder = Path(folder)
        try:
            folder.mkdir()
        except OSError:
            continue
        if not (folder / file).exists():  # the kernel makes it, where there is such a control group
            folder.rmdir()
            continue
        (folder / file).write_text(quota)
        yield ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(folder / "cgroup.procs")]
        wait_for(lambda: not (folder / "cgroup.procs").read_text(), "its processes are gone")
        folder.rmdir()
        return
    pytest.skip("no control group with a CPU quota can be made here: what a quota does to waits was not tried")


@pytest.mark.parametrize("realtime, spins", [("{ grace_s: 0 }", True), ("{ priority: 20 }", False)])
def test_waits_spin_where_yielding_can_help(bench, realtime, spins):
    with bench.live({"fine": FINE}, realtime=realtime) as sim:
        sim.ready()
        assert (spin_ns(sim.name) > 0) == spins
        sim.command("stop")
        sim.finish(20).expect(0)


def test_nobody_spins_a_quota_away(bench, one_cpu):
    with Running(bench.desk, bench.config({"fine": FINE}, mode="realtime"), prefix=one_cpu) as sim:
        sim.ready()
        assert spin_ns(sim.name) == 0
        sim.command("stop")
        sim.finish(20).expect(0)


@CAN_DROP
def test_what_is_not_permitted_is_said_with_its_cure(bench):
    config = bench.config({"fine": FINE, "other": "signal y"}, mode="realtime", end_time=0.1, realtime=ASKED)
    with Running(bench.desk, config, "--summary", bench.desk.folder / "summary.json", prefix=WITHOUT) as sim:
        done = sim.finish(30).expect(0)
    lines = [line for line in done.stderr.splitlines() if line.startswith("hermes: realtime:")]
    assert [line for line in lines if "the frames' thread has ordinary scheduling, not SCHED_FIFO priority 20" in line
            and "rtprio 95" in line and "LimitRTPRIO=95" in line and "CAP_SYS_NICE" in line], done.stderr
    assert [line for line in lines if "module fine, module other has ordinary scheduling, not SCHED_FIFO priority 19" in line]
    assert [line for line in lines if "memlock unlimited" in line and "LimitMEMLOCK=infinity" in line and "CAP_IPC_LOCK" in line]
    assert done.recording.frames == list(range(11)), "the run goes on without"
    for thread in told(bench)["realtime"]["threads"]:
        assert thread["found"]["policy"] == "other" and thread["found"]["locked_bytes"] == 0
        assert thread["found"]["cpus"] == thread["asked"]["cpus"], "CPUs take no permission"
        assert len(thread["refused"]) == 2


@CAN_DROP
def test_what_is_required_ends_the_run_before_its_first_frame(bench):
    config = bench.config({"fine": FINE}, mode="realtime", end_time=10,
                          realtime="{ priority: 1, required: true }")
    with Running(bench.desk, config, prefix=WITHOUT) as sim:
        done = sim.finish(30).expect(2, "error:", "host desk: the frames' thread has ordinary scheduling, not SCHED_FIFO priority 1",
                                      "required: true")
    assert done.recording.frames == [0] or not done.recording.frames
    assert bench.ended == {"fine"}


@pytest.mark.parametrize("realtime", ["{ cpus: { modules: [8000] } }", "{ cpus: { coordinator: [0, 8000] } }"])
def test_a_cpu_that_is_not_there_is_an_error_where_it_stands(bench, realtime):
    config = bench.config({"fine": FINE}, mode="realtime", realtime=realtime)
    done = bench.desk.run(config).expect(1, "there is no CPU 8000 here")
    assert "sim.yaml:" in done.stderr and ": error: " in done.stderr
    assert bench.ended == set()
    # Nobody is to run there in another mode.
    bench.desk.run(config, "--mode", "afap", "--frames", 3).expect(0)


# ---- Several hosts -----------------------------------------------------------------------------------------------

@PERMITTED
def test_each_host_keeps_time_and_says_so(hosts):
    hosts.start("ab")
    path = hosts.desk.folder / "summary.json"
    entry = hosts.entry(hosts["b"])[:-2] + f", cpus: [{LAST}] }}"
    with hosts.live({}, "--summary", path, watched="ab", realtime=ASKED, hosts={"b": entry}) as sim:
        sim.ready().frame(5)
        for name, cpu in (("a", FIRST), ("b", LAST)):
            worker = hosts[name].worker()
            realtime = realtime_threads(worker)
            # The thread that runs the frames, and libzmq's that carries its messages.
            assert all(how == ("fifo", 20, [cpu]) for how in realtime.values())
            names = sorted(Path(f"/proc/{worker}/task/{task}/comm").read_text().strip() for task in realtime)
            assert len(names) == 2 and [each for each in names if "IO" in each], names
            assert int(status(worker, "VmLck")) > 0
            assert realtime_threads(hosts[name].process.pid) == {}, "not the node itself"
            for keeper in [pid for pid in hosts[name].processes() if comm(pid) == "hermes-keeper"]:
                assert realtime_threads(keeper) == {}
            pid = sim.module_pid(f"watch_{name}")
            assert realtime_threads(pid) == {pid: ("fifo", 19, [LAST])}
        sim.command("stop")
        sim.finish(20).expect(0)
    found = {(thread["host"], thread.get("module"), thread["role"]) for thread in json.loads(path.read_text())["realtime"]["threads"]}
    for host in ("desk", "a", "b"):
        assert {(host, None, "frames"), (host, None, "messages")} <= found, found
    assert {("a", "watch_a", "steps"), ("b", "watch_b", "steps")} <= found
    hosts.rest()


def test_a_cpu_that_a_host_lacks_is_named_with_it(hosts):
    hosts.start("ab")
    entry = hosts.entry(hosts["b"])[:-2] + ", cpus: [8000] }"
    config = hosts.ring("ab-", mode="realtime", hosts={"b": entry})
    hosts.run(config).expect(2, "host b", "there is no CPU 8000 on this host")
    hosts.rest()


@CAN_DROP
def test_a_host_that_may_not_is_named_with_it(hosts):
    hosts.add("a").launch().listens()
    hosts.add("b", prefix=WITHOUT).launch().listens()
    config = hosts.ring("ab-", mode="realtime", end_time=0.1, realtime="{ priority: 5 }")
    done = hosts.run(config).expect(0)
    lines = [line for line in done.stderr.splitlines() if line.startswith("hermes: realtime:")]
    assert [line for line in lines if "host b: the frames' thread" in line and "CAP_SYS_NICE" in line], done.stderr
    assert not may_be_realtime() or not [line for line in lines if "host a:" in line]
    required = hosts.ring("ab-", mode="realtime", end_time=10, realtime="{ priority: 5, required: true }")
    hosts.run(required).expect(2, "host b", "required: true")
    hosts.rest()


def test_hosts_follow_the_coordinators_steps_and_no_clock(hosts):
    """With the coordinator frozen for less than a host waits before it counts as lost, no host begins a frame of its own."""
    hosts.start("ab")
    with hosts.live(watched="ab", rate_hz=200) as sim:
        sim.ready().frame(20)
        at = lambda: [segment_words(f"{sim.name}.{host}")[1] for host in "ab"]
        sim.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: is_stopped(sim.process.pid), "the coordinator is frozen")
            before = at()
            time.sleep(0.5)  # a hundred frames, had they a clock
            after = at()
        finally:
            sim.process.send_signal(signal.SIGCONT)
        assert max(after) <= min(before) + 1, "one frame's step messages, or half of them, were out when the coordinator froze"
        sim.frame(max(after) + 50)
        sim.command("stop")
        sim.finish(20).expect(0)
    hosts.rest()
