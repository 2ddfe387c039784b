"""Every command of hermes: what it prints, when it returns, how it refuses, its exit codes."""
import json
import os
import re
import signal
import subprocess
import textwrap
import threading
import time

import pytest
from conftest import HERMES, REPOSITORY, Running, segment_words, shared_memory, wait_for

CONFIG = """
version: "0.2"
name: {name}
modules:
  zulu: {{ type: process, executable: ./formula, config: ./zulu.formula }}
  alpha: {{ type: process, executable: ./formula, config: ./alpha.formula }}
wiring:
  - {{ src: zulu.count, dst: alpha.count }}
  - {{ src: zulu.wave, dst: alpha.wave }}
execution: {{ mode: {mode}, rate_hz: 8, schedule: [zulu, alpha]{end} }}
"""
ZULU = "signal count i64 output = 0\nsignal wave f64 output = 0.1\nsignal off f64 output = 1\ncount = n\nwave = wave * -1.5 + 0.25\noff = 0 / 0\n"
ALPHA = ("signal count i64 input = 0\nsignal wave f64 input = 0\nsignal free i64 input = -5\nsignal flag bool output,writable = 1\n"
         "signal small i32 output,writable = 7\nsignal single f32 output,writable = 0.5\nsignal secret f64 hidden = 2.5\n")
LIVE = ["get", "set", "pause", "resume", "step", "mode", "reset", "stop", "list-signals", "status"]
WORDS = {"get": ["alpha.free"], "set": ["alpha.free=1"], "mode": ["afap"]}


@pytest.fixture
def config(desk):
    desk.module("formula")
    desk.write("zulu.formula", ZULU)
    desk.write("alpha.formula", ALPHA)

    def lay_out(mode="single_frame", end="", name=None):
        name = name or desk.name
        return desk.write(f"{name}.yaml", CONFIG.format(name=name, mode=mode, end=end))
    return lay_out


@pytest.fixture
def paused(desk, config):
    with Running(desk, config()) as sim:
        yield sim.ready()
        if sim.process.poll() is None:
            sim.command("stop")
        sim.finish().expect(0)


def value(sim, name):
    return sim.command("get", name).stdout.strip()


# ---- get, set, list-signals ---------------------------------------------------------------------------------------

def test_get_prints_one_value_or_names(paused):
    assert paused.command("get", "alpha.free").stdout == "-5\n"
    assert paused.command("get", "zulu.wave", "alpha.flag").stdout == "zulu.wave=0.1\nalpha.flag=true\n"
    assert paused.command("get", "alpha.s*").stdout == "alpha.secret=2.5\nalpha.single=0.5\nalpha.small=7\n"
    assert paused.command("get", "alpha.fr*").stdout == "alpha.free=-5\n", "a pattern names what it found"
    assert paused.command("get", "*.count", "alpha.count").stdout == "alpha.count=0\nzulu.count=0\n", "each once"
    paused.command("step")
    assert value(paused, "zulu.off") == "nan"


def test_get_as_json(paused):
    paused.command("step", 3)
    document = json.loads(paused.command("get", "zulu.count", "zulu.wave", "zulu.off", "alpha.flag", "--format", "json").stdout)
    assert document["name"] == paused.name and document["frame"] == 3 and document["time"] == 0.375
    assert list(document["values"]) == ["zulu.count", "zulu.wave", "zulu.off", "alpha.flag"]
    wave = 0.1
    for _ in range(3):
        wave = wave * -1.5 + 0.25
    assert document["values"] == {"zulu.count": 3, "zulu.wave": wave, "zulu.off": "nan", "alpha.flag": True}


def test_get_refuses_what_is_not_there(paused):
    paused.command("get", "alpha.fre", code=2).expect(2, "alpha.fre", "alpha.free")
    paused.command("get", "alpha.free", "nobody.*", code=2).expect(2, "nobody.*")
    assert paused.command("get", "alpha.free", "alpha.fre", code=2).stdout == ""
    paused.command("get", code=64)
    paused.command("get", "alpha.free", "dotless", code=64).expect(64, "dotless")


def test_values_got_together_are_of_one_frame(desk, config):
    with Running(desk, config("afap"), record=False) as sim:
        sim.ready()
        frames = []
        for _ in range(40):
            document = json.loads(sim.command("get", "zulu.count", "alpha.wave", "zulu.wave", "alpha.count", "--format", "json").stdout)
            values = document["values"]
            assert values["zulu.count"] == values["alpha.count"] == document["frame"], values
            assert values["zulu.wave"] == values["alpha.wave"], values
            assert document["time"] == document["frame"] / 8
            frames.append(document["frame"])
        assert frames == sorted(frames) and len(set(frames)) == len(frames), "the simulation ran meanwhile"
        sim.command("stop")


@pytest.mark.parametrize("text, expected", [("alpha.free=-9007199254740993", "-9007199254740993"), ("alpha.flag=false", "false"),
                                            ("alpha.flag=0", "false"), ("alpha.small=-2147483648", "-2147483648"),
                                            ("alpha.single=0.1", "0.1"), ("alpha.single=-inf", "-inf")])
def test_set_takes_values_of_the_signals_type(paused, text, expected):
    paused.command("set", text)
    paused.command("step")
    assert value(paused, text.split("=")[0]) == expected


@pytest.mark.parametrize("wrong, reason", [("alpha.small=2147483648", "i32"), ("alpha.flag=maybe", "bool"), ("alpha.single=", "f32"),
                                           ("alpha.count=1", "wire"), ("zulu.wave=1", "read-only"), ("alpha.fee=1", "alpha.free"),
                                           ("alpha.small=1.5", "i32")])
def test_one_refused_value_refuses_the_call(paused, wrong, reason):
    paused.command("set", "alpha.free=77", wrong, code=2).expect(2, wrong.split("=")[0], reason)
    paused.command("step")
    assert value(paused, "alpha.free") == "-5"


@pytest.mark.parametrize("words", [[], ["alpha.free"], ["alpha=1"], ["alpha.free=1", "alpha.free=2"]])
def test_set_knows_wrong_usage(paused, words):
    paused.command("set", *words, code=64)


def test_list_signals(paused):
    lines = paused.command("list-signals").stdout.splitlines()
    assert lines[0].split() == ["SIGNAL", "TYPE", "UNIT", "FLAGS", "DESCRIPTION"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert list(rows) == sorted(rows) and len(rows) == 10
    assert rows["alpha.free"] == ["i64", "-", "writable,published"]
    assert rows["alpha.count"] == ["i64", "-", "published,wired"]
    assert rows["alpha.secret"] == ["f64", "-", "-"]
    document = json.loads(paused.command("list-signals", "zulu.*", "alpha.flag", "--format", "json").stdout)
    assert document["name"] == paused.name
    assert [s["name"] for s in document["signals"]] == ["alpha.flag", "zulu.count", "zulu.off", "zulu.wave"]
    assert document["signals"][0] == {"name": "alpha.flag", "type": "bool", "unit": None, "writable": True, "published": True,
                                      "wired": False, "description": None}
    paused.command("list-signals", "zulu.nothing*", code=2)


def test_list_signals_of_a_configuration(desk, config, paused):
    """Beside the running one of the same name."""
    listed = desk.command("list-signals", f"{desk.name}.yaml").expect(0)
    assert listed.stdout == paused.command("list-signals").stdout
    one = desk.command("list-signals", f"{desk.name}.yaml", "zulu.w*", "--format", "json").expect(0)
    assert [s["name"] for s in json.loads(one.stdout)["signals"]] == ["zulu.wave"]
    desk.command("list-signals", f"{desk.name}.yaml", "zulu.v*").expect(2, "zulu.v*")
    assert paused.process.poll() is None


def test_list_signals_helps_with_wrong_wiring(desk, config):
    path = config()
    path.write_text(path.read_text().replace("dst: alpha.wave", "dst: alpha.wav"))
    done = desk.command("list-signals", path)
    done.expect(1, f"{path}:", "alpha", "'wav'", "`wave`")
    assert "alpha.wave" in done.stdout and "zulu.off" in done.stdout


# ---- step, pause, resume, mode, reset, stop, status ---------------------------------------------------------------

def test_step_returns_when_its_frames_are_complete(paused):
    paused.command("step")
    assert segment_words(paused.name)[1] == 1
    paused.command("step", 500)
    assert segment_words(paused.name)[1] == 501
    assert value(paused, "zulu.count") == "501"
    paused.command("step", 0, code=64)
    paused.command("step", "many", code=64)
    paused.command("step", 1, 2, code=64)


def test_step_needs_a_paused_simulation(desk, config):
    with Running(desk, config("realtime"), record=False) as sim:
        sim.ready()
        sim.command("step", code=2).expect(2, "pause")
        sim.command("pause")
        sim.command("step", 2)
        sim.command("stop")


def test_step_stops_before_the_end(desk, config):
    with Running(desk, config(end=", end_time: 1")) as sim:
        sim.ready()
        sim.command("step", 9, code=2).expect(2, "8")
        sim.command("step", 8)
        assert sim.finish().expect(0).recording.frames == list(range(9))


def test_pause_holds_and_resume_goes_on(desk, config):
    with Running(desk, config("afap"), record=False) as sim:
        sim.ready()
        sim.command("pause")
        status = json.loads(sim.command("status", "--format", "json").stdout)
        assert status["state"] == "paused"
        time.sleep(0.1)
        assert segment_words(sim.name)[1] == status["frame"]
        sim.command("pause")
        sim.command("resume")
        sim.frame(status["frame"] + 100)
        sim.command("stop")


def test_mode_changes_mid_run(paused):
    def state():
        status = json.loads(paused.command("status", "--format", "json").stdout)
        return status["mode"], status["state"]
    assert state() == ("single_frame", "paused")
    paused.command("mode", "realtime")
    assert state() == ("realtime", "paused")
    paused.command("resume")
    assert state() == ("realtime", "running")
    paused.command("mode", "afap")
    paused.frame(200)
    paused.command("mode", "single_frame")
    assert state() == ("single_frame", "paused")
    paused.command("mode", "sometimes", code=64).expect(64, "realtime")
    paused.command("mode", code=64)


def test_reset_begins_an_epoch(paused):
    paused.command("step", 5)
    paused.command("reset")
    assert segment_words(paused.name)[1] == 0
    status = json.loads(paused.command("status", "--format", "json").stdout)
    assert (status["frame"], status["epoch"], status["state"]) == (0, 1, "paused")


def test_stop_returns_when_everything_is_gone(desk, config):
    with Running(desk, config("afap"), prefix=["/usr/bin/env"]) as sim:
        sim.ready()
        assert sim.modules()
        sim.command("stop")
        assert not sim.modules()
        assert not [path for path in shared_memory() if sim.name in path.name]
        # The kernel closes the connection a moment before a parent can see the end.
        wait_for(lambda: open(f"/proc/{sim.process.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z",
                 "hermes run has ended too", seconds=0.5)
        sim.finish().expect(0)
        assert sim.desk.record.read_text().endswith("\n")


def test_status(paused):
    paused.command("step", 2)
    text = paused.command("status").stdout
    assert re.search(r"state +paused\n", text) and re.search(r"frame +2\n", text) and "alpha: paused" in text
    status = json.loads(paused.command("status", "--format", "json").stdout)
    assert status == {"name": paused.name, "state": "paused", "mode": "single_frame", "frame": 2, "frames": None, "epoch": 0,
                      "time": 0.25, "rate_hz": 8, "pid": paused.process.pid,
                      "modules": [{"name": name, "state": "paused", "restarts": 0, "last_error": None}
                                  for name in ("zulu", "alpha")]}
    all_of_them = json.loads(paused.desk.command("status", "--format", "json").expect(0).stdout)
    assert status in all_of_them
    assert re.search(rf"^{paused.name} +paused +single_frame +2 ", paused.desk.command("status").stdout, re.M)


def test_two_simulations_do_not_meet(desk, config, paused):
    other = Running(desk, config(name=f"{desk.name}-b"), name=f"{desk.name}-b", record=False)
    with other as second:
        second.ready()
        paused.command("step", 2)
        second.command("step", 5)
        second.command("set", "alpha.free=6")
        second.command("step")
        assert value(paused, "zulu.count") == "2" and value(second, "zulu.count") == "6"
        assert value(paused, "alpha.free") == "-5" and value(second, "alpha.free") == "6"
        for verb in LIVE:
            if verb != "status":
                desk.command(verb, *WORDS.get(verb, [])).expect(2, paused.name, second.name)
        second.command("stop")
        assert paused.process.poll() is None


# ---- NAME, staging, the end ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("verb", LIVE)
def test_an_unknown_name_is_refused(desk, paused, verb):
    desk.command(verb, f"{desk.name}-x", *WORDS.get(verb, [])).expect(2, f"{desk.name}-x", desk.name)


def test_without_a_name_the_only_one_is_meant(desk, config):
    """In a /dev/shm of its own, where no other simulation runs."""
    script = textwrap.dedent(f"""
        mount -t tmpfs tmpfs /dev/shm || exit 99
        h={HERMES}
        $h step; echo "none $?"
        $h status; echo "none $?"
        $h run {config()} > run.log 2>&1 &
        until $h status {desk.name} 2>&1 | grep -q paused; do sleep 0.02; done
        $h step; echo "step $?"
        $h step 4; echo "step $?"
        $h set alpha.free=3; echo "set $?"
        $h reset; echo "reset $?"
        $h step 2 && $h get zulu.count && $h get 'zulu.c*' alpha.free
        $h list-signals zulu.wave | tail -1
        $h mode afap && $h pause && $h resume && $h stop; echo "stop $?"
        wait; ls -A /dev/shm; echo end
        """)
    done = subprocess.run(["unshare", "-Urm", "bash", "-c", script], cwd=desk.folder, env=desk.environment, capture_output=True,
                          text=True, timeout=60)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("no mount namespace of one's own here")
    assert done.stdout.splitlines() == [
        "none 2", "none 0", "step 0", "step 0", "set 0", "reset 0", "2", "zulu.count=2", "alpha.free=3",
        "zulu.wave  f64   -     published", "stop 0", "end"], done.stdout + done.stderr
    assert done.stderr.count("no simulation runs here") == 2


@pytest.fixture
def staging(desk):
    desk.module("trouble")
    desk.write("slow.trouble", "signal x\nstage hang\n")
    text = (f"version: '0.2'\nname: {desk.name}\nmodules: {{ slow: {{ type: process, executable: ./trouble, config: ./slow.trouble }} }}\n"
            "execution: { mode: afap, rate_hz: 10 }\n")
    with Running(desk, text, record=False) as sim:
        sim.until(lambda: (segment_words(sim.name) or (0, 0))[0] == 1, "staging has begun")
        yield sim


def test_while_staging_commands_say_so(staging):
    for verb in LIVE:
        if verb not in ("status", "stop"):
            words = {"get": ["slow.x"], "set": ["slow.x=1"]}.get(verb, WORDS.get(verb, []))
            staging.command(verb, *words, code=2).expect(2, "staging")
    assert json.loads(staging.command("status", "--format", "json").stdout)["state"] == "staging"
    assert staging.process.poll() is None


def test_stop_ends_one_that_is_staging(staging):
    staging.command("stop", timeout=20)
    assert staging.finish(5).code in (0, 130)
    assert segment_words(staging.name) is None


def test_a_command_whose_simulation_ends_meanwhile_says_so(desk, config):
    path = config()
    text = path.read_text()
    desk.module("trouble")
    desk.write("dies.trouble", "signal x\nstep 30 exit 3\n")
    path.write_text(text.replace("wiring:", "  dies: { type: process, executable: ./trouble, config: ./dies.trouble }\nwiring:")
                    .replace("[zulu, alpha]", "[zulu, alpha, dies]"))
    with Running(desk, path) as sim:
        sim.ready()
        sim.command("step", 29)
        sim.command("step", 1000, code=2).expect(2, "dies", "30")
        sim.finish().expect(2)
        sim.command("get", "zulu.count", code=2).expect(2, sim.name)


def test_a_run_that_is_killed_leaves_no_command_waiting(desk, config):
    with Running(desk, config("realtime"), record=False) as sim:
        sim.ready()
        sim.command("pause")
        sim.command("mode", "realtime")
        killer = threading.Timer(0.3, sim.process.kill)
        sim.command("pause")
        killer.start()
        began = time.monotonic()
        # Eight frames a second: it is killed long before these are done.
        sim.command("step", 10**12, code=2).expect(2, "ended")
        assert time.monotonic() - began < 20
        sim.process.wait()
        wait_for(lambda: not sim.modules(), "the modules are gone")
    wait_for(lambda: not [path for path in shared_memory() if sim.name in path.name], "the run folder is gone")


def test_a_frozen_run_is_told_from_a_busy_one(desk, config):
    with Running(desk, config(), record=False) as sim:
        sim.ready()
        os.kill(sim.process.pid, signal.SIGSTOP)
        try:
            done = desk.command("status", sim.name, timeout=30)
        finally:
            os.kill(sim.process.pid, signal.SIGCONT)
        done.expect(2, "does not answer")
        sim.command("stop")


# ---- plan, verify, run, doctor ------------------------------------------------------------------------------------

def test_plan(desk, config):
    path = config()
    text = desk.command("plan", path).expect(0).stdout
    assert re.search(r"^1 +zulu +desk +process +every frame +0.125 s$", text, re.M)
    assert re.search(r"^zulu.count +-> alpha.count +in the same frame$", text, re.M)
    document = json.loads(desk.command("plan", path, "--format", "json").expect(0).stdout)
    assert document["phases"] == [["zulu"], ["alpha"]]
    assert [wire["delay_frames"] for wire in document["wires"]] == [0, 0]
    path.write_text(path.read_text().replace("[zulu, alpha]", "[[alpha, zulu]]")
                    .replace("wiring:", "wiring:\n  - { src: alpha.w*, dst: zulu.w* }"))
    done = desk.command("plan", path, "--format", "json").expect(0, "warning", "chain", "alpha.w*")
    document = json.loads(done.stdout)
    assert [wire["delay_frames"] for wire in document["wires"]] == [1, 1, 1]
    assert document["wires"][0]["src"] == "alpha.w*" and document["mirrors"] == []
    assert {"src": "zulu.wave", "via": "alpha.w*", "dst": "zulu.w*", "delay_frames": 2, "direct_delay_frames": 1} in document["chains"]
    assert segment_words(desk.name) is None


def test_plan_shows_what_crosses_hosts(desk, config):
    path = config()
    path.write_text(path.read_text().replace("modules:", "hosts: { bench: { endpoint: 'tcp://127.0.0.1:7600' } }\nmodules:")
                    .replace("./alpha.formula", "./alpha.formula, host: bench"))
    document = json.loads(desk.command("plan", path, "--format", "json").expect(0).stdout)
    assert document["mirrors"] == [{"from": "desk", "to": "bench", "phase": 1,
                                    "wires": [{"src": "zulu.count", "dst": "alpha.count"}, {"src": "zulu.wave", "dst": "alpha.wave"}]}]
    assert "desk -> bench" in desk.command("plan", path).stdout


@pytest.mark.parametrize("verb", ["plan", "verify", "list-signals", "run", "validate"])
def test_an_invalid_configuration_is_exit_1(desk, config, verb):
    path = config()
    path.write_text(path.read_text().replace("schedule: [zulu, alpha]", "schedule: [zulu, alpa]"))
    desk.command(verb, path).expect(1, f"{path}:", "alpha")
    desk.command(verb, "nowhere.yaml").expect(1, "nowhere.yaml")
    assert desk.command(verb, path, "--no-such-option").code == 64


def test_verify_of_equal_runs(desk, config):
    path = config(end=", end_time: 5")
    digest = desk.command("run", path, "--digest", "--mode", "afap").expect(0).stdout.split()[1]
    assert desk.command("verify", path).expect(0).stdout == f"identical: 40 frames, digest {digest}\n"
    document = json.loads(desk.command("verify", path, "--frames", 7, "--format", "json").expect(0).stdout)
    assert document["identical"] is True and document["frames"] == 7 and document["first_difference"] is None
    desk.command("verify", config()).expect(64, "--frames")


CLOCK = """
import hermes, time

class Clock:
    steady = hermes.output(1.0)
    unsteady = hermes.output(0.0)

    def step(self, dt):
        if hermes.frame() >= 6:
            self.unsteady = time.monotonic()
"""


def test_verify_names_the_first_frame_and_signal(desk, config):
    desk.write("clock.py", CLOCK)
    path = desk.config(f"version: '0.2'\nname: {desk.name}\nmodules: {{ clock: {{ type: script, script: ./clock.py }} }}\n"
                       "execution: { mode: realtime, rate_hz: 10, end_time: 2 }\n")
    done = desk.command("verify", path).expect(2, "wall clock", "threads", "memory")
    assert "frame 6 " in done.stdout and "clock.unsteady: " in done.stdout and "steady:" not in done.stdout.replace("unsteady:", "")
    document = json.loads(desk.command("verify", path, "--format", "json").expect(2).stdout)
    assert document["identical"] is False and document["first_difference"]["frame"] == 6
    (different,) = document["first_difference"]["signals"]
    assert different["name"] == "clock.unsteady" and different["second"] > different["first"]
    desk.command("verify", path, "--frames", 5).expect(0)


def test_verify_warns_of_free_scripts(desk, config):
    path = config(end=", end_time: 1")
    desk.write("free.sh", "#!/bin/sh\nexit 0\n").chmod(0o755)
    path.write_text(path.read_text().replace("wiring:", "  free: { type: script, script: ./free.sh }\nwiring:")
                    .replace("[zulu, alpha]", "[zulu, alpha, free]"))
    desk.command("verify", path).expect(0, "warning", "free")


def test_verify_says_when_a_run_fails(desk):
    desk.module("trouble")
    desk.write("bad.trouble", "signal x\nstep 3 exit 4\n")
    path = desk.config(f"version: '0.2'\nname: {desk.name}\nmodules: {{ bad: {{ type: process, executable: ./trouble, config: ./bad.trouble }} }}\n"
                       "execution: { mode: afap, rate_hz: 10, end_time: 2 }\n")
    desk.command("verify", path).expect(2, "first run", "module bad", "frame 3")


def test_run_prints_what_several_options_name(desk, config):
    path = config("afap", end=", end_time: 1")
    done = desk.command("run", path, "--print", "zulu.count", "--frames", 3, "--print", "alpha.free", "alpha.flag").expect(0)
    assert done.stdout == "t=0.375 zulu.count=3 alpha.free=-5 alpha.flag=true\n"
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    desk.command("run", path, "--print", "zulu.cont").expect(1, "zulu.count")


def test_run_shows_progress_on_a_terminal(desk, config):
    path = config("realtime", end=", end_time: 1")
    done = subprocess.run(["script", "-qec", f"{HERMES} run {path}", "/dev/null"], cwd=desk.folder, env=desk.environment,
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert re.search(r"\x1b\[K.*frame \d+/8 ", done.stdout), done.stdout
    assert "completed, 8 frames" in done.stdout


def test_doctor(desk):
    document = json.loads(desk.command("doctor", "--format", "json").expect(0).stdout)
    assert document["healthy"] is True
    subjects = [finding["subject"] for finding in document["findings"]]
    assert len(set(subjects)) == len(subjects)
    for subject in ("open files", "locked memory", "realtime priority", "shared memory", "CPU governor", "python3", "libhermes"):
        assert subject in subjects
    for finding in document["findings"]:
        assert (finding["verdict"] == "fine") == (finding["cure"] is None), finding
    text = desk.command("doctor").expect(0).stdout
    assert all(subject in text for subject in subjects)


def test_doctor_finds_what_is_broken(desk):
    desk.environment["HERMES_PYTHON"] = "/bin/false"
    done = desk.command("doctor", "--format", "json")
    assert done.code == 2
    document = json.loads(done.stdout)
    assert document["healthy"] is False
    (broken,) = [finding for finding in document["findings"] if finding["verdict"] == "broken"]
    assert broken["subject"] == "python3" and broken["cure"]


# ---- Help and docs/cli.md -----------------------------------------------------------------------------------------

def commands(desk, *path):
    text = desk.command("help", *path).expect(0).stdout if path else desk.command("--help").expect(0).stdout
    listed = text.split("SUBCOMMANDS:")[1] if "SUBCOMMANDS:" in text else ""
    return re.findall(r"^  ([a-z][a-z-]*)(?: \(default\))?(?:  |$)", listed, re.M)


def test_the_page_of_the_commands_has_every_command_and_option(desk):
    page = (REPOSITORY / "docs/cli.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    names = commands(desk)
    assert len(names) >= 16 and set(LIVE) <= set(names)
    assert set(sections) == set(names), "docs/cli.md has a section for each command and no other"
    for name in names:
        paths = [[name], *([name, inner] for inner in commands(desk, name))]
        for path in paths:
            help_text = desk.command(*path, "--help").expect(0).stdout
            assert "xample" in help_text or len(paths) > 1, f"{path}: no example"
            options = help_text.split("OPTIONS:")[1].split("SUBCOMMANDS:")[0]
            for option in re.findall(r"^  ((?:-\w, )?--[a-z-]+)", options, re.M):
                for word in option.split(", "):
                    where = page if word in ("--version", "-h", "--help") else sections[name]
                    assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", where), f"docs/cli.md, {name}: {word} is missing"


def test_version(desk):
    done = desk.command("--version").expect(0)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("words", [["nonsense"], ["status", "--nonsense"], ["status", "a", "b"], ["step", "a", "b", "c"], ["run"]])
def test_wrong_usage_is_64(desk, words):
    done = desk.command(*words)
    assert done.code == 64 and done.stdout == "" and "Usage" in done.stderr


# ---- Output that nobody takes ----------------------------------------------------------------------------------

def talkative(desk):
    desk.write("talk.py", "import sys\ndef step(sim, dt):\n    print('y' * 4000, file=sys.stderr, flush=True)\n")
    desk.write("talk.sh", "#!/bin/sh\nwhile :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy >&2; done &\nexec ./formula \"$@\"\n")
    (desk.folder / "talk.sh").chmod(0o755)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stuck_reader_of_errors_keeps_nothing_from_ending(desk, config, number):
    path = config("afap")
    talkative(desk)
    path.write_text(path.read_text().replace("executable: ./formula, config: ./zulu", "executable: ./talk.sh, config: ./zulu"))
    reader, writer = os.pipe()
    process = subprocess.Popen([HERMES, "run", path], stdout=subprocess.DEVNULL, stderr=writer, cwd=desk.folder, env=desk.environment)
    os.close(writer)
    try:
        wait_for(lambda: (segment_words(desk.name) or (0, 0))[1] > 100, "frames go on while nobody reads")
        time.sleep(0.5)
        at = segment_words(desk.name)[1]
        wait_for(lambda: segment_words(desk.name)[1] > at + 100, "frames go on while nobody reads")
        process.send_signal(number)
        assert process.wait(15) == 130
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_dropped_lines_of_modules_are_counted(desk, config):
    path = config("afap")
    talkative(desk)
    path.write_text(path.read_text().replace("executable: ./formula, config: ./zulu", "executable: ./talk.sh, config: ./zulu"))
    process = subprocess.Popen([HERMES, "run", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=desk.folder, env=desk.environment)
    wait_for(lambda: (segment_words(desk.name) or (0, 0))[1] > 100, "frames go on while nobody reads")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 130
    assert re.search(r"^hermes: \d+ lines of modules dropped", said, re.M)
    assert "interrupted, " in said, "the end of the run is told all the same"


def test_results_that_cannot_be_written_are_exit_2(desk, config):
    path = config("afap", ", end_time: 1")
    with open("/dev/full", "w") as full:
        done = subprocess.run([HERMES, "run", path, "--digest"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=desk.folder,
                              env=desk.environment, timeout=30)
        assert done.returncode == 2 and "results could not be written" in done.stderr, done.stderr
        done = subprocess.run([HERMES, "plan", path], stdout=full, stderr=subprocess.PIPE, text=True, cwd=desk.folder, timeout=30)
        assert done.returncode == 2 and "results could not be written" in done.stderr, done.stderr


def test_a_reader_that_is_gone_is_no_failure(desk, config):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([HERMES, "run", config("afap", ", end_time: 1"), "--digest"], stdout=writer, stderr=subprocess.PIPE,
                          text=True, cwd=desk.folder, env=desk.environment, timeout=30)
    os.close(writer)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(desk, config, closed):
    path = config("afap", ", end_time: 1")
    done = subprocess.run(f"exec {HERMES} run {path} --digest --summary out.json {closed}", shell=True, cwd=desk.folder,
                          env=desk.environment, timeout=30)
    assert done.returncode == 0
    assert json.loads((desk.folder / "out.json").read_text())["frames"] == 8


def test_an_ignored_hangup_stays_ignored(desk, config):
    with Running(desk, config(), prefix=["nohup"]) as sim:
        sim.ready()
        sim.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        sim.command("step")
        sim.command("stop")
        sim.finish().expect(0)


# ---- Options that make no sense, targets that can't be written ---------------------------------------------------

@pytest.mark.parametrize("words", [["--end-time", "1e300"], ["--end-time", "1e18"], ["--rate", "1e300", "--end-time", "1"],
                                   ["--rate", "1e-310"], ["--frames", 2**64 - 1], ["--name=-x"]])
def test_impossible_numbers_and_names_are_wrong_usage(desk, config, words):
    desk.command("run", config("afap"), *words).expect(64, words[0].split("=")[0])


@pytest.mark.parametrize("mode", ["afap", "realtime"])
@pytest.mark.parametrize("rate", ["1e300", "1e-12"])
def test_extreme_rates_run(desk, config, rate, mode):
    frames = 3 if mode == "afap" or rate == "1e300" else 1
    desk.command("run", config(mode), "--rate", rate, "--frames", frames, "--print", "zulu.count").expect(0)


def test_print_shows_the_last_completed_frame(desk, config):
    path = config("afap")
    desk.module("trouble")
    desk.write("dies.trouble", "signal x\nstep 30 exit 3\n")
    path.write_text(path.read_text().replace("wiring:", "  dies: { type: process, executable: ./trouble, config: ./dies.trouble }\nwiring:")
                    .replace("[zulu, alpha]", "[zulu, alpha, dies]"))
    done = desk.command("run", path, "--print", "zulu.count").expect(2)
    assert done.stdout.splitlines()[-1] == "t=3.625 zulu.count=29"


def test_a_name_that_begins_like_a_segment(desk, config, paused):
    name = f"hermes_{desk.name}"
    with Running(desk, config(name=name), name=name, record=False) as other:
        other.ready()
        other.command("set", "alpha.free=9").expect(0, "next frame")
        other.command("step")
        paused.command("step")
        assert value(other, "alpha.free") == "9" and value(paused, "alpha.free") == "-5"
        other.command("stop")


@pytest.mark.parametrize("words", [["--record", "-"], ["--trace", "-"], ["--record", ""], ["--trace", ""], ["--summary", ""]])
def test_what_is_no_file_is_wrong_usage(desk, config, words):
    desk.command("run", config("afap"), "--frames", 1, *words).expect(64, f"{words[0]} takes a file's name")
    assert not (desk.folder / "-").exists()


def test_targets_are_tried_before_anything_starts(desk, config):
    (desk.folder / "folder").mkdir()
    path = config("afap", ", end_time: 1")
    for option in ("--record", "--summary"):
        for target in ("folder", "missing/x"):
            done = desk.command("run", path, option, target).expect(2, target)
            assert "simulated in" not in done.stderr
    old = desk.write("old.csv", "old\n")
    desk.command("run", path, "--record", "old.csv", "--summary", "missing/x").expect(2)
    assert old.read_text() == "old\n"
    desk.command("run", path, "--record", "new.csv", "--summary", "missing/x").expect(2)
    assert not (desk.folder / "new.csv").exists()


def test_options_with_unknown_signals(desk, config):
    for option, words in (("--set", "alpha.fre=1"), ("--print", "alpha.fre")):
        done = desk.command("run", config("afap", ", end_time: 1"), option, words).expect(1)
        assert f"hermes: error: {option}: there is no signal 'alpha.fre'" in done.stderr


def test_commands_and_a_frozen_run(desk, config, paused):
    frozen = Running(desk, config(name=f"{desk.name}-f"), name=f"{desk.name}-f", record=False)
    with frozen as sim:
        sim.ready()
        os.kill(sim.process.pid, signal.SIGSTOP)
        try:
            everything = desk.command("status", timeout=20).expect(0, f"pid {sim.process.pid}", "does not answer")
            assert paused.name in everything.stdout
            done = desk.command("stop", sim.name, timeout=20).expect(2, f"pid {sim.process.pid}", "may be stopped")
            assert 9 < done.seconds < 15
            step = subprocess.Popen([HERMES, "step", sim.name], stderr=subprocess.PIPE, text=True, cwd=desk.folder)
            time.sleep(5)
            assert step.poll() is None
            sim.process.kill()
            sim.process.wait()
            assert step.wait(10) == 2
            assert "does not answer" in (said := step.stderr.read()) and "has ended" in said
        finally:
            if sim.process.poll() is None:
                os.kill(sim.process.pid, signal.SIGCONT)
    wait_for(lambda: not sim.modules() and not [path for path in shared_memory() if sim.name in path.name], "all is gone")


def test_what_lists_signals_is_no_simulation(desk, staging):
    """The folder of its own is there while modules announce, but it takes no commands."""
    desk.write("late.sh", "#!/bin/sh\nsleep 3\nexec ./trouble \"$@\"\n").chmod(0o755)
    desk.write("late.yaml", f"version: '0.2'\nname: {desk.name}-l\nmodules: {{ slow: {{ type: process, executable: ./late.sh, config: ./slow.trouble }} }}\n"
               "execution: { mode: afap, rate_hz: 10 }\n")
    listing = subprocess.Popen([HERMES, "list-signals", "late.yaml"], stdout=subprocess.PIPE, text=True, cwd=desk.folder, env=desk.environment)
    wait_for(lambda: [path for path in shared_memory() if path.name == f"announce-{listing.pid}"], "its folder is there")
    done = desk.command("status").expect(0)
    assert "announce" not in done.said
    assert "announce" not in desk.command("step").expect(2).stderr
    assert "slow.x" in listing.communicate(timeout=30)[0] and listing.returncode == 0
    staging.command("stop", timeout=20)
