"""`on_module_error`: what a module's failure does when it does not end the run. Real processes, on the desk and on a node."""
import json
import os
import re
import signal
import time

import pytest
from conftest import Running, summary, wait_for
from hosts import FORMULA, FORMULAS, RING, Placed, hosts  # noqa: F401 (a fixture)

STEADY = "signal z"
"""A module that does nothing wrong."""


class Bench:
    """Lays out simulations of trouble modules and formulas on the desk."""

    def __init__(self, desk):
        self.desk = desk
        desk.module("trouble")
        desk.module("formula")

    def config(self, modules, wiring=(), schedule=None, name=None, **execution):
        """`modules`: name to (the text of its trouble file or formula, further settings)."""
        lines = ["version: '0.2'", f"name: {name or self.desk.name}", "modules:"]
        for module, (text, *settings) in modules.items():
            program = "formula" if "=" in text else "trouble"
            self.desk.write(f"{module}.{program}", text + "\n")
            more = "".join(f", {each}" for each in settings)
            lines.append(f"  {module}: {{ type: process, executable: ./{program}, config: ./{module}.{program}{more} }}")
        lines += ["wiring:"] + [f"  - {{ src: {src}, dst: {dst} }}" for src, dst in wiring] if wiring else []
        lines.append("execution:")
        execution = {"mode": "afap", "rate_hz": 100, **execution}
        lines += [f"  {key}: {value}" for key, value in execution.items()]
        if schedule:
            lines.append(f"  schedule: {schedule}")
        return self.desk.write(f"{name or 'sim'}.yaml", "\n".join(lines) + "\n")


@pytest.fixture
def bench(desk):
    return Bench(desk)


HOLD, RESTART, STOP = (f"on_module_error: {policy}" for policy in ("hold", "restart", "stop"))


def errors(done):
    return summary(done)["module_errors"]


def status(sim, module=None):
    """The status of a running simulation, or of one of its modules."""
    whole = json.loads(sim.command("status", "--format", "json").stdout)
    return whole if module is None else next(each for each in whole["modules"] if each["name"] == module)


def held_since(done, module, columns):
    """Holds the recording to what hold promises, and returns the frame from which the module is held."""
    (error,) = [each for each in errors(done) if each["module"] == module]
    assert error["action"] == "held" and error["differs_from"] == error["frame"]
    rows = done.recording.rows
    before, frame = rows[error["frame"] - 1], error["frame"]
    for row in rows[frame:]:
        assert [row[column] for column in columns] == [before[column] for column in columns]
    assert done.recording.frames == list(range(len(rows)))
    return frame


# ---- Hold ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("trouble, cause", [
    ("return 7", "step returned 7: told to return 7"), ("exit 3", "exited with code 3"), ("exit 0", "exited with code 0"),
    ("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("hang", "did not finish its step within 1 s"),
    ("babble", "something else than a message"),
])
def test_frame_n_completes_with_the_outputs_of_the_frame_before(bench, trouble, cause):
    trouble = f"signal x\nsignal y\nstep 5 {trouble}" + ("\nstep 5 hang" if trouble == "babble" else "")
    config = bench.config(
        {"source": ("signal count i64 output = 0\ncount = count + 1",), "weak": (trouble, HOLD),
         "after": ("signal seen f64 input = -1\nsignal twice f64 output = 0\ntwice = seen * 2",)},
        [("weak.x", "after.seen")], "[[source, weak], after]", end_time=0.2, step_timeout_s=1)
    done = bench.desk.run(config, "--summary", "-").expect(0, "module weak on host desk at frame 5", cause, "held")
    assert held_since(done, "weak", ["weak.x", "weak.y"]) == 5
    recording = done.recording
    assert recording.column("weak.x")[4:] == ["4"] * 17, "the outputs of frame 4"
    assert recording.column("after.seen")[4:] == ["4"] * 17 and recording.column("after.twice")[4:] == ["8"] * 17
    assert recording.column("source.count") == [str(frame) for frame in range(21)]
    assert re.search(cause, errors(done)[0]["cause"])
    assert summary(done)["outcome"] == "completed" and summary(done)["error"] is None


def test_held_module_keeps_what_users_and_wires_give_it(bench):
    """What a user sets before the frame stays, and wires go on into it; only its outputs are those of the frame before."""
    weak = "signal seen f64 input = 0\nsignal gain f64 writable = 2\nsignal out f64 output = 0\nout = seen * gain"
    config = bench.config({"source": ("signal count i64 output = 0\ncount = count + 1",), "weak": (weak, HOLD)},
                          [("source.count", "weak.seen")], "[source, weak]", mode="single_frame")
    with Running(bench.desk, config, "--summary", "-") as sim:
        sim.ready().command("step", "4")
        os.kill(sim.module_pid("weak"), signal.SIGKILL)
        wait_for(lambda: status(sim, "weak")["state"] == "held", "a paused simulation shows at once that it is held")
        sim.command("set", "weak.gain=9")
        sim.command("step", "3")
        sim.command("stop")
        done = sim.finish().expect(0)
    recording = done.recording
    assert recording.column("weak.seen") == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert recording.column("weak.gain") == ["2"] * 5 + ["9"] * 3
    assert recording.column("weak.out") == ["0", "2", "4", "6", "8", "8", "8", "8"]
    assert errors(done)[0]["frame"] == 5


def test_killed_at_any_time_is_held_and_shown(bench):
    config = bench.config({"steady": (STEADY,), "victim": ("signal x\nsignal y", HOLD)}, mode="realtime", rate_hz=200)
    with Running(bench.desk, config, "--summary", "-") as sim:
        sim.ready().frame(20)
        assert status(sim, "victim") == {"name": "victim", "state": "running", "restarts": 0, "last_error": None}
        os.kill(sim.module_pid("victim"), signal.SIGKILL)
        line = sim.says("module victim on host desk at frame", "SIGKILL", "held")
        frame = int(re.search(r"at frame (\d+)", line)[1])
        shown = status(sim, "victim")
        assert shown["state"] == "held" and shown["last_error"]["frame"] == frame and "SIGKILL" in shown["last_error"]["cause"]
        assert f"victim: held since frame {frame}: ended by signal 9 (SIGKILL)" in sim.command("status").stdout
        assert status(sim, "steady")["state"] == "running"
        sim.frame(frame + 20)
        sim.command("reset")
        sim.frame(5)
        assert status(sim, "victim")["state"] == "held", "there is nobody to reset"
        sim.command("stop")
        done = sim.finish().expect(0)
    first, second = done.epochs
    assert {row["victim.x"] for row in first.rows[frame:]} == {str(frame - 1)}
    assert {row["victim.x"] for row in second.rows} == {str(frame - 1)}
    assert second.column("steady.z")[1:] == [str(number) for number in second.frames[1:]]


def test_the_held_module_reaches_its_safe_state(bench):
    ends = bench.desk.folder / "ends"
    config = bench.config({"steady": (STEADY,), "weak": (f"signal x\nstep 5 hang\nterminate write {ends}", HOLD)},
                          mode="realtime", step_timeout_s=0.5)
    with Running(bench.desk, config) as sim:
        sim.says("module weak", "held")
        assert ends.read_text().split()[:2] == ["weak", "terminate"], "nobody steps it any more"
        sim.command("stop")
        sim.finish().expect(0)
    assert len(ends.read_text().splitlines()) == 1


def test_every_module_may_be_held(bench):
    config = bench.config({f"m{n}": (f"signal x\nstep {n} exit {n}",) for n in range(1, 8)}, end_time=0.2, on_module_error="hold")
    done = bench.desk.run(config, "--summary", "-").expect(0)
    assert [(each["module"], each["frame"]) for each in errors(done)] == [(f"m{n}", n) for n in range(1, 8)]
    for n in range(1, 8):
        assert done.recording.column(f"m{n}.x")[n:] == [str(n - 1)] * (21 - n)


def test_the_modules_own_key_goes_before_that_of_all(bench):
    config = bench.config({"fatal": ("signal x\nstep 5 exit 3", STOP), "held": ("signal y\nstep 3 exit 4",)}, end_time=1,
                          on_module_error="hold")
    done = bench.desk.run(config, "--summary", "-").expect(2, "module fatal on host desk at frame 5: exited with code 3")
    assert [each["module"] for each in errors(done)] == ["held"]
    assert done.recording.frames == [0, 1, 2, 3, 4]


def test_inproc_module_is_held_for_its_status(bench):
    desk = bench.desk
    desk.module("trouble", shared=True)
    desk.write("inside.trouble", "signal x\nstep 4 return 9\n")
    config = desk.write("inside.yaml", f"version: '0.2'\nname: {desk.name}\nmodules:\n"
                        f"  inside: {{ type: inproc, executable: ./trouble.so, config: ./inside.trouble, {HOLD} }}\n"
                        "execution: { rate_hz: 100, end_time: 0.1 }\n")
    done = desk.run(config, "--summary", "-").expect(0, "inside", "frame 4", "step returned 9")
    assert held_since(done, "inside", ["inside.x"]) == 4


# ---- Restart ---------------------------------------------------------------------------------------------------

def disturb(sim, modules, frames, every):
    """SIGKILL to one of the modules after the other, each time so many frames later."""
    for number, frame in enumerate(range(every, frames, every)):
        sim.frame(frame)
        module = modules[number % len(modules)]
        goes_on = re.compile(rf"module {module} on host \w+ goes on with frame \d+ from the state it had saved")
        before = len(goes_on.findall(sim.stderr))
        os.kill(sim.module_pid(module), signal.SIGKILL)
        sim.until(lambda: len(goes_on.findall(sim.stderr)) > before, f"{module} is started again")


def test_with_saved_state_a_restart_leaves_no_trace(bench):
    modules = {module: (text, RESTART) for module, text in FORMULAS.items()}
    how = dict(wiring=RING, schedule="[one, [two, three]]", rate_hz=500, end_time=3, restart_limit=100)
    calm = bench.desk.run(bench.config(modules, name=f"{bench.desk.name}-calm", **how), "--digest").expect(0)
    undisturbed = bench.desk.record.read_bytes()
    with Running(bench.desk, bench.config(modules, mode="realtime", **how), "--digest", "--summary", "-") as sim:
        disturb(sim.ready(), list(modules), 1500, 140)
        done = sim.finish().expect(0)
    assert bench.desk.record.read_bytes() == undisturbed
    assert summary(done)["digest"] in calm.stdout
    fired = errors(done)
    assert len(fired) == 10 and {each["action"] for each in fired} == {"restarted"}
    assert all(each["differs_from"] is None and "SIGKILL" in each["cause"] for each in fired)
    assert [each["restart"] for each in fired if each["module"] == "one"] == [1, 2, 3, 4]


@pytest.mark.parametrize("trouble", ["return 7", "exit 3", "segfault", "hang", "babble"])
def test_a_module_that_fails_in_its_step_makes_it_again(bench, trouble):
    """Its output is the frame, so what it makes again is plain to see, though it saves no state."""
    once = bench.desk.folder / "once"
    text = f"signal x\nonce {once}\nstep 5 {trouble}" + ("\nstep 5 hang" if trouble == "babble" else "")
    config = bench.config({"steady": (STEADY,), "weak": (text, RESTART)}, end_time=0.2, step_timeout_s=1)
    done = bench.desk.run(config, "--summary", "-").expect(
        0, "module weak on host desk at frame 5", "starting it again, 1 of at most 5 times", "results differ from this frame on")
    assert done.recording.column("weak.x") == [str(frame) for frame in range(21)]
    (error,) = errors(done)
    assert (error["action"], error["frame"], error["restart"], error["differs_from"]) == ("restarted", 5, 1, 5)


def test_without_state_it_begins_as_staged_and_the_summary_says_so(bench):
    config = bench.config({"steady": (STEADY,), "weak": ("signal x", RESTART)}, mode="realtime", rate_hz=200)
    with Running(bench.desk, config, "--summary", "-") as sim:
        sim.ready().frame(10)
        os.kill(sim.module_pid("weak"), signal.SIGKILL)
        frame = int(re.search(r"at frame (\d+)", sim.says("module weak on host desk at frame", "SIGKILL"))[1])
        sim.says("module weak on host desk", f"goes on with frame {frame}", "as it was staged", "results differ from this frame on")
        assert status(sim, "weak")["state"] == "running" and status(sim, "weak")["restarts"] == 1
        sim.frame(frame + 20)
        sim.command("stop")
        done = sim.finish().expect(0)
    (error,) = errors(done)
    assert error["differs_from"] == error["frame"] == frame


def test_python_modules_are_started_again_with_their_state(bench):
    desk = bench.desk
    desk.write("counting.py", """
import hermes

class Counting:
    count: int = hermes.output(0)
    total: float = hermes.output(0.0)

    def step(self, dt):
        self.count += 1
        self.total += self.count * dt / 3

    def save(self):
        return repr((self.count, self.total)).encode()

    def load(self, state):
        self.count, self.total = eval(state.decode())
""")

    def config(mode, name):
        return desk.write(f"{mode}.yaml", f"version: '0.2'\nname: {name}\nmodules:\n"
                          f"  counting: {{ type: script, script: counting.py, {RESTART} }}\n"
                          f"execution: {{ mode: {mode}, rate_hz: 100, end_time: 3 }}\n")
    desk.run(config("afap", f"{desk.name}-calm")).expect(0)
    undisturbed = desk.record.read_bytes()
    with Running(desk, config("realtime", desk.name), "--summary", "-") as sim:
        disturb(sim.ready(), ["counting"], 250, 120)
        done = sim.finish().expect(0)
    assert desk.record.read_bytes() == undisturbed and len(errors(done)) == 2


def test_who_fails_over_and_over_ends_the_run(bench):
    config = bench.config({"steady": (STEADY,), "weak": ("signal x\nstep 5 say the fuel is out\nstep 5 exit 3", RESTART)}, end_time=1,
                          restart_limit=3)
    done = bench.desk.run(config, "--summary", "-").expect(
        2, "module weak on host desk at frame 5: exited with code 3; it had been started again 3 times", "the fuel is out")
    assert [each["restart"] for each in errors(done)] == [1, 2, 3]
    assert summary(done)["outcome"] == "failed"
    assert done.recording.frames == [0, 1, 2, 3, 4], "frame 5 never was complete"


def test_a_failed_start_is_tried_again(bench):
    """The module's file is gone when it is started again, and comes back."""
    desk = bench.desk
    config = bench.config({"weak": ("signal x", RESTART)}, mode="realtime", restart_limit=100)
    program, away = desk.folder / "trouble", desk.folder / "away"
    with Running(desk, config, "--summary", "-") as sim:
        sim.ready().frame(5)
        program.rename(away)
        os.kill(sim.module_pid("weak"), signal.SIGKILL)
        sim.says("module weak", "can't be started", "No such file")
        assert status(sim, "weak")["state"] == "restarting"
        away.rename(program)
        sim.says("module weak", "goes on with frame")
        frame = status(sim)["frame"]
        sim.frame(frame + 5)
        sim.command("stop")
        done = sim.finish().expect(0)
    assert len(errors(done)) >= 2


def test_a_run_is_interrupted_while_a_module_is_started_again(bench):
    config = bench.config({"weak": ("signal x\nstep 5 exit 3", RESTART)}, mode="realtime", restart_limit=1000)
    with Running(bench.desk, config) as sim:
        sim.says("starting it again, 3 of at most 1000 times")
        sim.process.send_signal(signal.SIGINT)
        sim.says("once more to end at once")
        sim.process.send_signal(signal.SIGINT)
        sim.finish().expect(130)


# ---- What goes with it -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("policy, word", [(HOLD, "held"), (RESTART, "restarted")])
def test_verify_refuses_a_run_in_which_it_fired(bench, policy, word):
    once = bench.desk.folder / "once"
    config = bench.config({"steady": (STEADY,), "weak": (f"signal x\nonce {once}\nstep 5 exit 3", policy)}, end_time=0.2)
    done = bench.desk.command("verify", config)
    done.expect(2, f"module weak on host desk was {word} at frame 5 (exited with code 3)", "proves nothing")
    assert "identical" not in done.said
    bench.desk.command("verify", config).expect(0)


def test_it_is_refused_where_it_can_not_be_kept(bench):
    desk = bench.desk
    desk.module("trouble", shared=True)
    config = desk.write("inside.yaml", "version: '0.2'\nmodules:\n  inside: { type: inproc, executable: ./trouble.so }\n"
                        "execution: { on_module_error: restart }\n")
    desk.command("validate", config).expect(1, "inside.yaml:4:31: error: module `inside`", "inproc")
    # Whether a Python script is free shows when it announces.
    desk.write("free.py", "from hermes.scripting import SimulationAPI\nSimulationAPI()\n")
    config = desk.write("free.yaml", f"version: '0.2'\nname: {desk.name}\nmodules:\n"
                        f"  free: {{ type: script, script: free.py, {HOLD} }}\nexecution: {{ end_time: 1 }}\n")
    desk.command("validate", config).expect(0)
    desk.command("run", config).expect(1, "free.yaml:4:", "error: script free is a free script", "on_module_error: hold")


# ---- On other hosts --------------------------------------------------------------------------------------------

def test_a_module_on_a_node_is_held(hosts):
    hosts.start("ab")
    weak = Placed("{ type: process, executable: ./trouble, config: ./weak.trouble, " + HOLD + "{host} }")
    (hosts["b"].root / "weak.trouble").write_text("signal x\n")
    modules = {"weak": ("b", weak), "steady": ("a", STEADY), "here": (None, STEADY)}
    config = hosts.config(modules, mode="realtime", rate_hz=200)
    with Running(hosts.desk, config, "--summary", "-") as sim:
        sim.ready().frame(20)
        os.kill(sim.module_pid("weak"), signal.SIGKILL)
        line = sim.says("module weak on host b at frame", "SIGKILL", "held")
        frame = int(re.search(r"at frame (\d+)", line)[1])
        wait_for(lambda: status(sim, "weak")["state"] == "held", "status says so on the desk")
        hosts["b"].says("module weak", f"frame {frame}", "held", "SIGKILL")
        assert status(sim, "weak")["last_error"]["frame"] == frame and status(sim, "steady")["state"] == "running"
        sim.frame(frame + 20)
        sim.command("stop")
        done = sim.finish().expect(0)
    assert held_since(done, "weak", ["weak.x"]) == frame
    assert errors(done)[0]["host"] == "b"
    assert done.recording.column("steady.z")[1:] == [str(number) for number in done.recording.frames[1:]]
    hosts.rest()


@pytest.mark.parametrize("mode", ["realtime", "afap"])
def test_modules_on_nodes_are_started_again_without_a_trace(hosts, mode):
    hosts.start("abc")
    settings = Placed(FORMULA.replace("config:", f"{RESTART}, config:"))
    modules = {module: (host, settings) for module, host in zip(FORMULAS, "abc")}
    frames = 900 if mode == "realtime" else 20000
    how = {"rate_hz": 300, "end_time": frames / 300, "restart_limit": 100}
    calm = hosts.desk.run(hosts.config(modules, RING, **how), "--digest", "--summary", "-").expect(0)
    undisturbed = hosts.desk.record.read_bytes()
    assert errors(calm) == []
    with Running(hosts.desk, hosts.config(modules, RING, mode=mode, **how), "--summary", "-") as sim:
        sim.ready()
        if mode == "realtime":
            disturb(sim, list(modules), 800, 150)
        else:
            for module in modules:
                os.kill(sim.module_pid(module), signal.SIGKILL)
        done = sim.finish().expect(0)
    assert hosts.desk.record.read_bytes() == undisturbed
    fired = errors(done)
    assert {(each["module"], each["host"]) for each in fired} == {("one", "a"), ("two", "b"), ("three", "c")}
    assert all(each["action"] == "restarted" and each["differs_from"] is None for each in fired)
    hosts.rest()


def test_the_limit_holds_on_nodes(hosts):
    hosts.start("ab")
    weak = Placed("{ type: process, executable: ./trouble, config: ./weak.trouble, " + RESTART + "{host} }")
    (hosts["b"].root / "weak.trouble").write_text("signal x\nstep 5 exit 3\n")
    config = hosts.config({"weak": ("b", weak), "steady": ("a", STEADY)}, end_time=1, restart_limit=2)
    done = hosts.desk.run(config, "--summary", "-").expect(
        2, "module weak on host b at frame 5: exited with code 3; it had been started again 2 times")
    assert [(each["host"], each["restart"]) for each in errors(done)] == [("b", 1), ("b", 2)]
    assert done.recording.frames == [0, 1, 2, 3, 4]
    hosts.rest()
    hosts.serves()


def test_a_lost_node_still_ends_the_run(hosts):
    hosts.start("ab")
    modules = {"there": ("b", Placed("{ type: process, executable: ./trouble, config: ./there.trouble{host} }"))}
    (hosts["b"].root / "there.trouble").write_text("signal x\n")
    config = hosts.config({**modules, "steady": ("a", STEADY)}, mode="realtime", on_module_error="restart")
    with Running(hosts.desk, config, "--summary", "-") as sim:
        sim.ready().frame(10)
        hosts["b"].kill()
        began = time.monotonic()
        done = sim.finish(30).expect(2, "host b")
        assert time.monotonic() - began < 10
    assert errors(done) == []
