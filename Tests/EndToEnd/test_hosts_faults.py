"""What several hosts can suffer, with real processes over loopback: each failure ends the run with one line that names host,
module, frame and cause, ends every module in its safe state, and leaves every node ready for the next run.

Sentences may change, so the tests look for what a reader needs. Bounds on time are those of the contract and generous.
"""
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import HERE, Running, kill_all, segment_words, wait_for
from hosts import FINE, FORMULA, LIVENESS, Keys, Placed, error_line, hosts  # noqa: F401 (a fixture)
from relay import Relay
from zmtp import Connection, FakeNode, control

SOON = LIVENESS + 3
"""A lost host is reported within the liveness limit; the rest is for busy machines."""


def fails(sim, *words, seconds=SOON):
    """The run ends with exit code 2 and one error line that has all these words."""
    began = time.monotonic()
    done = sim.finish(30).expect(2)
    assert time.monotonic() - began < seconds, f"took {time.monotonic() - began:.1f} s\n{done.stderr}"
    line = error_line(done)
    for word in words:
        assert re.search(word, line), f"{word!r} is missing in: {line}"
    return done


def whole_frames(done):
    """The frames recorded. In realtime, when the desk's segment was at frame n, all hosts had done frame n - 1."""
    frames = done.recording.frames
    assert frames == list(range(len(frames))), "every completed frame and no other"
    return frames


# ---- Modules ---------------------------------------------------------------------------------------------------

def test_module_is_killed(hosts):
    hosts.start()
    with hosts.live({"victim": ("b", "signal y")}) as sim:
        sim.ready().frame(5)
        os.kill(sim.module_pid("victim"), signal.SIGKILL)
        done = fails(sim, "host b", "module victim", r"frame \d+", "SIGKILL")
    assert len(whole_frames(done)) >= 5
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


@pytest.mark.parametrize("grant", [1, 100])
def test_module_exits_with_last_words(hosts, grant):
    hosts.start()
    quitter = {"quitter": ("c", "signal y\nstep 7 say the fuel is out\nstep 7 exit 3")}
    with hosts.live(quitter, "--grant", grant, mode="afap") as sim:
        done = fails(sim, "host c", "module quitter", "frame 7", r"\b3\b", "the fuel is out")
    # Within a grant hosts may be a frame behind the one that fails: it is not complete then.
    assert whole_frames(done)[-1] in ([6] if grant == 1 else range(7))
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()


def test_module_returns_an_error_from_stage(hosts):
    hosts.start()
    with hosts.live({"naysayer": ("b", "signal y\nstage return 42")}) as sim:
        fails(sim, "host b", "module naysayer", "stage", "42", "told to return 42", seconds=10)
    hosts.rest()
    hosts.serves()


def test_module_is_stopped(hosts):
    hosts.start()
    with hosts.live({"frozen": ("b", "signal y")}, step_timeout_s=1) as sim:
        sim.ready().frame(5)
        os.kill(sim.module_pid("frozen"), signal.SIGSTOP)
        line = sim.says("waiting for host b, module frozen, frame")
        frame = int(re.search(r"frame (\d+)", line)[1])
        assert sim.process.poll() is None, "half the time-out is a word, not the end"
        done = fails(sim, "host b", "module frozen", f"frame {frame}", seconds=8)
    assert whole_frames(done)[-1] == frame - 1
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


def test_module_hangs_in_a_step(hosts):
    hosts.start()
    with hosts.live({"sleeper": ("a", "signal y\nstep 6 hang\nterminate write {ends}")}, mode="afap", step_timeout_s=1) as sim:
        sim.says("waiting for host a, module sleeper, frame 6")
        done = fails(sim, "host a", "module sleeper", "frame 6", seconds=8)
    assert whole_frames(done) == list(range(6))
    hosts.all_ended("watch_a", "watch_b", "watch_c", "sleeper")
    hosts.rest()


def test_module_that_is_continued_in_time_is_forgiven(hosts):
    hosts.start()
    with hosts.live({"frozen": ("b", "signal y\nterminate write {ends}")}, "--digest", step_timeout_s=3, end_time=1) as sim:
        pid = sim.ready().frame(5).module_pid("frozen")
        os.kill(pid, signal.SIGSTOP)
        sim.says("waiting for host b, module frozen, frame")
        os.kill(pid, signal.SIGCONT)
        done = sim.finish(20).expect(0)
    assert whole_frames(done) == list(range(101))
    hosts.all_ended("watch_a", "watch_b", "watch_c", "frozen")
    hosts.rest()


# ---- What a node starts, and what it refuses to start ------------------------------------------------------------

def refuses(hosts, modules, *words, args=()):
    """A run of modules of which host b takes one for not allowed: the reason is told, nothing is started there."""
    config = hosts.config({"fine": ("a", FINE), **modules}, end_time=0.1)
    done = hosts.run(config, *args, timeout=30)
    assert done.code in (1, 2), done.said
    line = error_line(done)
    for word in ("b", *words):
        assert str(word) in line, f"{word!r} is missing in: {line}"
    assert done.seconds < 10
    return done


def test_missing_executable(hosts):
    hosts.start("ab")
    refuses(hosts, {"ghost": ("b", Placed("{ type: process, executable: ./not-there{host} }"))}, "host b", "module ghost", "not-there")
    refuses(hosts, {"mute": ("b", Placed("{ type: process, executable: ./formula, config: ./not-there{host} }"))}, "host b", "module mute", "not-there")
    hosts.rest()
    hosts.serves("aba")


@pytest.mark.parametrize("way", ["up", "absolute", "link", "link to a folder", "config", "working_dir"])
def test_nothing_outside_the_root(hosts, way):
    hosts.start("ab")
    outside = hosts.desk.folder / "outside"
    outside.mkdir()
    touched = hosts.desk.folder / "touched"
    program = outside / "program"
    program.write_text(f"#!/bin/sh\n: > {touched}\n")
    program.chmod(0o755)
    root = hosts["b"].root
    (root / "link").symlink_to(program)
    (root / "folder").symlink_to(outside)
    settings = {"up": "executable: ./../outside/program", "absolute": f"executable: {program}", "link": "executable: ./link",
                "link to a folder": "executable: folder/program", "config": "executable: ./formula, config: ../outside/program",
                "working_dir": "executable: ./formula, config: ./one.formula, working_dir: .."}[way]
    # What leads out by its text is found where it stands in the file, what does by a link where it lies.
    words = ("host b", "module outsider", "root") if "link" in way else ("sim.yaml:", "host `b`", "root")
    refuses(hosts, {"outsider": ("b", Placed(f"{{ type: process, {settings}{{host}} }}"))}, *words)
    assert not touched.exists(), "a program outside the root was started"
    hosts.rest()


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "PYTHONPATH", "HERMES_X"])
def test_variables_that_change_what_a_program_is(hosts, variable):
    """Said where it stands in the file; what a node says to a desk that asks all the same is in test_fuzz_node.py."""
    hosts.start("ab")
    settings = Placed(f"{{ type: process, executable: ./formula, config: ./one.formula, env: {{ {variable}: /tmp/x }}{{host}} }}")
    refuses(hosts, {"sly": ("b", settings)}, "sim.yaml:", variable)
    hosts.rest()


def test_inproc_needs_to_be_allowed(hosts):
    hosts.start("ab")
    shutil.copy2(hosts.desk.built(HERE / "modules/formula.c", shared=True), hosts["b"].root / "formula.so")
    inside = Placed("{ type: inproc, executable: ./formula.so, config: ./one.formula{host} }")
    refuses(hosts, {"inside": ("b", inside)}, "host b", "module inside", "--allow-inproc")
    hosts.rest()
    assert hosts["b"].end() == 0
    hosts["b"].start("--allow-inproc")
    hosts.run(hosts.config({"fine": ("a", FINE), "inside": ("b", inside)}, end_time=0.1)).expect(0)
    hosts.rest()


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_root_that_others_may_write_to(hosts, mode):
    node = hosts.add("a")
    node.root.chmod(mode)
    done = subprocess.run(node.words(), capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "chmod go-w" in done.stderr and str(node.root) in done.stderr, done.stderr


# ---- Processes of a node -----------------------------------------------------------------------------------------

def test_process_of_the_run_is_killed(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        os.kill(hosts["b"].worker(), signal.SIGKILL)
        done = fails(sim, "host b", r"frame \d+", "SIGKILL")
    assert len(whole_frames(done)) >= 5
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


def test_process_of_the_run_is_stopped(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        os.kill(hosts["b"].worker(), signal.SIGSTOP)
        done = fails(sim, "host b", r"frame \d+", seconds=SOON + 4)
    whole_frames(done)
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


def test_node_is_killed(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        hosts["b"].kill()
        done = fails(sim, "host b", r"frame \d+")
    whole_frames(done)
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts["b"].start()
    hosts.serves()


def test_node_is_there_again_at_once(hosts):
    """One that took its place does not go on with what it does not know."""
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        hosts["b"].kill()
        hosts["b"].start()
        fails(sim, "host b")
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


def test_node_and_its_process_are_killed(hosts):
    """All of Hermes on a host but the keeper and the modules, at once."""
    hosts.start()
    with hosts.live({"hung": ("b", "signal y\nstep 60 hang\nterminate write {ends}")}, step_timeout_s=20) as sim:
        sim.ready().frame(59)
        worker = hosts["b"].worker()
        os.kill(worker, signal.SIGKILL)
        hosts["b"].kill()
        fails(sim, "host b", r"frame \d+")
    hosts.all_ended("watch_a", "watch_b", "watch_c", "hung")
    hosts["b"].start()
    hosts.rest()
    hosts.serves()


def test_node_is_stopped(hosts):
    """The node alone, not the run's process beside it: nobody could end that run any more, so it counts as a lost host."""
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        os.kill(hosts["b"].process.pid, signal.SIGSTOP)
        done = fails(sim, "host b", r"frame \d+", seconds=SOON + 4)
    whole_frames(done)
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    os.kill(hosts["b"].process.pid, signal.SIGCONT)
    hosts.rest()
    hosts.serves()


def test_everything_of_a_host_is_stopped(hosts):
    """As if the machine froze."""
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        frozen = [hosts["b"].process.pid, *hosts["b"].processes()]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        done = fails(sim, "host b", r"frame \d+", seconds=SOON + 4)
        whole_frames(done)
        hosts.all_ended("watch_a", "watch_c")
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


def test_node_is_told_to_end(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        assert hosts["b"].end() == 0
        done = fails(sim, "host b", r"frame \d+")
    whole_frames(done)
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts["b"].start()
    hosts.serves()


def test_node_restarts_between_runs(hosts):
    hosts.start()
    hosts.serves()
    assert hosts["b"].end() == 0
    hosts["b"].start()
    hosts.serves()
    hosts["b"].kill()
    hosts["b"].start()
    hosts.serves()


# ---- Links -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mirrors", ["auto", "tcp", "zeromq"])
@pytest.mark.parametrize("seed, mode", [(1, "afap"), (2, "realtime"), (3, "afap")])
def test_link_ends_in_the_middle_of_a_message(hosts, seed, mode, mirrors):
    """All that host a says ends where a message is half said, and again whenever it is dialled anew."""
    hosts.start()
    node = hosts["a"]
    entry = f'{{ endpoint: "tcp://127.0.0.9:{node.port}" }}'
    with Relay("127.0.0.9", [node.port, *node.ports], "127.0.0.1", seed=seed) as relay:
        with hosts.live(hosts={"a": entry}, mode=mode, mirrors=mirrors) as sim:
            sim.ready().frame(5)
            relay.cut()
            done = fails(sim, "host a")
        whole_frames(done)
        hosts.all_ended("watch_a", "watch_b", "watch_c")
        hosts.rest()
    hosts.serves()


# ---- The coordinator ---------------------------------------------------------------------------------------------

def test_coordinator_is_killed(hosts):
    hosts.start()
    with hosts.live({"hung": ("b", "signal y\nstep 60 hang\nterminate write {ends}")}, step_timeout_s=60) as sim:
        sim.ready().frame(59)
        sim.process.kill()
        sim.process.wait()
        hosts.all_ended("watch_a", "watch_b", "watch_c", "hung", seconds=SOON)
    hosts.rest()
    hosts.serves(name=hosts.desk.name)


def test_coordinator_is_stopped(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        os.kill(sim.process.pid, signal.SIGSTOP)
        hosts.all_ended("watch_a", "watch_b", "watch_c", seconds=SOON)
        for node in hosts.nodes.values():
            node.rests()
        hosts.serves()
        os.kill(sim.process.pid, signal.SIGCONT)
        done = sim.finish(20).expect(2)
    error_line(done)
    whole_frames(done)
    hosts.rest()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_coordinator_is_interrupted(hosts, number):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(20)
        sim.process.send_signal(number)
        done = sim.finish(20).expect(130)
    assert len(whole_frames(done)) > 20
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves()


def test_coordinator_is_killed_while_it_stages(hosts):
    hosts.start("ab")
    with hosts.live({"slow": ("b", "signal y\ninit write {ends}\ninit hang")}, watched="ab") as sim:
        sim.until(lambda: "slow" in hosts.ended, "init is called")
        sim.process.kill()
        sim.process.wait()
    hosts.rest()
    hosts.serves()


# ---- Who comes late, or never ------------------------------------------------------------------------------------

def test_node_that_joins_late(hosts):
    hosts.start("ac")
    hosts.add("b")
    config = hosts.ring()
    with Running(hosts.desk, config, "--digest", "--wait", 30, record=False) as sim:
        # The others have been asked: it is b that is waited for.
        wait_for(lambda: connections_to(hosts["c"].port), "the run reaches the nodes that are there")
        hosts["b"].start()
        done = sim.finish(30).expect(0)
    assert done.stdout == hosts.reference()
    hosts.rest()


def connections_to(port):
    """Established connections to a port of this machine."""
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [row for row in rows if int(row[2].split(":")[-1], 16) == port and row[3] == "01"]


def test_missing_node_is_named(hosts):
    hosts.start("ac")
    hosts.add("b")
    done = hosts.run(hosts.ring(), "--wait", "0.5", timeout=20).expect(2)
    line = error_line(done)
    assert "host b" in line and hosts["b"].endpoint in line and "hermes-node" in line, line
    assert done.seconds < 5
    hosts.rest()
    hosts["b"].start()
    hosts.serves()


def test_interrupted_while_a_node_is_waited_for(hosts):
    hosts.start("ac")
    hosts.add("b")
    with Running(hosts.desk, hosts.ring(), "--wait", 60, record=False) as sim:
        wait_for(lambda: connections_to(hosts["c"].port), "the run reaches the nodes that are there")
        sim.process.send_signal(signal.SIGINT)
        assert sim.finish(10).expect(130).seconds < 10
    hosts.rest()


def test_interrupted_while_a_host_stages(hosts):
    hosts.start("ab")
    with hosts.live({"slow": ("b", "signal y\ninit write {ends}\ninit hang")}, watched="ab", record=False) as sim:
        sim.until(lambda: "slow" in hosts.ended, "init is called")
        sim.process.send_signal(signal.SIGINT)
        sim.finish(15).expect(130)
    hosts.rest()
    hosts.serves("aba")


# ---- Two of one kind ---------------------------------------------------------------------------------------------

def test_second_node_on_a_busy_port(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        done = subprocess.run(hosts["b"].words(), capture_output=True, text=True, timeout=10)
        assert done.returncode == 2, done.stderr
        assert hosts["b"].endpoint in done.stderr and "taken" in done.stderr and "hermes-node" in done.stderr, done.stderr
        _, frame = segment_words(sim.name)
        sim.frame(frame + 20)
        sim.command("stop")
        whole_frames(sim.finish(20).expect(0))
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()


@pytest.fixture
def beside(hosts):
    """A node at a socket in the file system, and the sockets in its folder."""
    folder = hosts.desk.folder / "ipc"
    folder.mkdir()
    node = hosts.add("a", path=folder / "s").start()
    return node, lambda: sorted(path.name for path in folder.iterdir())


def test_second_node_on_a_socket(hosts, beside):
    node, sockets = beside
    with hosts.live(watched="a") as sim:
        sim.ready().frame(5)
        second = subprocess.run(node.words(), capture_output=True, text=True, timeout=10)
        assert second.returncode == 2 and node.endpoint in second.stderr and "taken" in second.stderr, second.stderr
        sim.command("stop")
        sim.finish(20).expect(0)
    hosts.serves("aaa")
    assert sockets() == ["s"]
    assert node.end() == 0
    assert sockets() == []


def test_sockets_that_killed_processes_leave(hosts, beside):
    node, sockets = beside
    with hosts.live(watched="a") as sim:
        sim.ready().frame(5)
        assert len(sockets()) == 2, "the node's and the run's"
        os.kill(node.worker(), signal.SIGKILL)
        fails(sim, "host a", "SIGKILL")
    hosts.rest()
    assert sockets() == ["s"]
    with hosts.live(watched="a") as sim:
        sim.ready().frame(5)
        kill_all([node.process.pid, *node.processes()])
        node.process.wait()
        fails(sim, "host a")
    node.start()
    assert sockets() == ["s"], "what was left is gone with the next start"
    hosts.serves("aaa")


def test_file_in_place_of_a_socket(hosts):
    path = hosts.desk.write("precious", "words\n")
    node = hosts.add("a", path=path)
    done = subprocess.run(node.words(), capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and str(path) in done.stderr and "no socket" in done.stderr, done.stderr
    assert path.read_text() == "words\n"


def own_shared_memory(words):
    """The words of a command with a /dev/shm of its own, as on another machine."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh", *map(str, words)]


def can_mount():
    return os.geteuid() == 0 and shutil.which("unshare") and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def test_two_runs_of_one_name(hosts):
    """From two desks: on one, the second would not even ask the nodes."""
    if not can_mount():
        pytest.skip("NOT TESTED: a second desk needs root and mount namespaces")
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        words = [hosts.desk.hermes, "run", hosts.ring(name=sim.name)]
        began = time.monotonic()
        second = subprocess.run(own_shared_memory(words), capture_output=True, text=True, timeout=20, cwd=hosts.desk.folder)
        assert second.returncode == 2, second.stderr
        assert time.monotonic() - began < 3, "who is refused need not wait"
        assert sim.name in second.stderr and "--name" in second.stderr and re.search("host [abc]", second.stderr), second.stderr
        _, frame = segment_words(sim.name)
        sim.frame(frame + 20)
        sim.command("stop")
        whole_frames(sim.finish(20).expect(0))
    hosts.all_ended("watch_a", "watch_b", "watch_c")
    hosts.rest()
    hosts.serves(name=sim.name)


def test_two_runs_of_one_name_on_one_desk(hosts):
    hosts.start()
    with hosts.live() as sim:
        sim.ready().frame(5)
        hosts.run(hosts.ring(name=sim.name), timeout=20).expect(2, sim.name)
        _, frame = segment_words(sim.name)
        sim.frame(frame + 20)
        sim.command("stop")
        sim.finish(20).expect(0)
    hosts.rest()


def test_simulations_side_by_side(hosts):
    """Four on the same nodes; one loses a module, one its process on a host, and the others come out as ever."""
    hosts.start()
    names = [f"{hosts.desk.name}-{letter}" for letter in "pqrs"]
    runs = [Running(hosts.desk, hosts.ring(order, name=name, file=name, mode="realtime", end_time=2), "--digest", name=name, record=False)
            for name, order in zip(names, ("abc", "bca", "cab", "aab"))]
    with runs[0], runs[1], runs[2], runs[3]:
        for sim in runs:
            sim.ready().frame(5)
        os.kill(runs[1].module_pid("two"), signal.SIGKILL)
        worker = next(pid for pid in hosts["a"].workers() if f"hermes_{names[2]}.a" in open(f"/proc/{pid}/maps").read())
        os.kill(worker, signal.SIGKILL)
        fails(runs[1], "host c", "module two", "SIGKILL")
        fails(runs[2], "host a")
        expected = hosts.reference(end_time=2)
        assert runs[0].finish(30).expect(0).stdout == expected
        assert runs[3].finish(30).expect(0).stdout == expected
    hosts.rest()
    hosts.serves()


# ---- Resources ---------------------------------------------------------------------------------------------------

def test_full_shared_memory(hosts):
    if not can_mount():
        pytest.skip("NOT TESTED: a full /dev/shm needs root and mount namespaces")
    hosts.start("a")
    small = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs -o size=256k none /dev/shm && exec "$@"', "sh"]
    hosts.add("b", prefix=small).start()
    config = hosts.config({"fine": ("a", FINE), "many": ("b", "signals 20000")}, end_time=0.1)
    done = hosts.run(config, timeout=30).expect(2)
    line = error_line(done)
    assert "host b" in line and re.search(r"/dev/shm|shared memory|space", line, re.I), line
    assert not re.search(r"SIGBUS|signal 7", done.stderr + hosts["b"].said), done.stderr
    hosts.rest()
    hosts.serves("aba")


def test_every_port_for_runs_is_taken(hosts):
    hosts.start("a")
    node = hosts.add("b")
    node.ports = range(node.port + 1, node.port + 3)  # one for the links, one for streams
    node.start()
    with hosts.live(watched="ab") as sim:
        sim.ready().frame(5)
        second = hosts.run(hosts.ring("aba", name=f"{sim.name}-second"), timeout=20).expect(2)
        line = error_line(second)
        assert "host b" in line and str(node.ports[0]) in line and "--ports" in line, line
        sim.command("stop")
        sim.finish(20).expect(0)
    hosts.rest()
    hosts.serves("aba")


# ---- Other versions ----------------------------------------------------------------------------------------------

MACHINE = {"architecture": "x86_64", "processor": "fake", "features": [], "libc": "glibc 2.36"}


def welcome(**differences):
    return {"version": "0.2.0", "protocolVersion": 1, "oldestProtocol": 1, "clockNanoseconds": time.time_ns(), "cores": 1,
            "memory": 1 << 30, "machine": MACHINE, "running": [], **differences}


def run_against(hosts, answer, *args):
    """A run on host a and on one that answers as told; what it printed and what the fake heard."""
    with FakeNode(answer) as fake:
        config = hosts.config({"here": ("a", FINE), "there": ("x", FORMULA)}, hosts={"x": f'{{ endpoint: "{fake.endpoint}" }}'}, end_time=0.1)
        done = hosts.run(config, *args, timeout=20)
    hosts.rest()
    return done, fake.heard


def test_node_of_another_protocol(hosts):
    hosts.start("a")
    done, heard = run_against(hosts, lambda message: ("welcome", welcome(version="9.7.3", protocolVersion=9, oldestProtocol=8)))
    line = error_line(done.expect(2))
    own = hosts.desk.command("--version").stdout.split()[-1]
    assert "host x" in line and "9.7.3" in line and own in line, line
    assert [message["say"] for message in heard] == ["hello"], "nothing is asked of a node that does not understand"
    hosts.serves("aaa")


def test_node_of_another_version_that_understands(hosts):
    hosts.start("a")
    def answer(message):
        return {"hello": ("welcome", welcome(version="0.2.7")), "open": ("refused", {"cause": "the fake is full"}),
                "hashes": ("refused", {"cause": "the fake knows of no files"}), "end": ("gone", {"run": message["body"].get("run", 0)})}[message["say"]]
    done, heard = run_against(hosts, answer)
    line = error_line(done.expect(2, "0.2.7"))
    assert "host x" in line and "the fake is full" in line, line


@pytest.mark.parametrize("answer", [b"", b"\xff\xfe", b"{}", b"[" * 5000, control("welcome", 1, {"version": 7}), control("sing", 1)],
                         ids=["empty", "binary", "bare", "nested", "wrong types", "another word"])
def test_node_that_talks_nonsense(hosts, answer):
    hosts.start("a")
    done, _ = run_against(hosts, lambda message: answer, "--wait", "1")
    line = error_line(done.expect(2))
    assert "host x" in line, line
    assert done.seconds < 8


def test_node_that_says_nothing(hosts):
    hosts.start("a")
    done, _ = run_against(hosts, lambda message: None, "--wait", "0.5")
    line = error_line(done.expect(2))
    assert "host x" in line and "does not answer" in line, line
    assert done.seconds < 8


def test_coordinator_of_another_protocol(hosts):
    node = hosts.start("a")["a"]
    with Connection(("127.0.0.1", node.port)).shake_hands() as connection:
        answer = connection.ask("hello", 1, {"version": "0.0.1", "protocolVersion": 0, "oldestProtocol": 0})
        assert answer["say"] in ("welcome", "refused")
        if answer["say"] == "welcome":
            assert answer["body"]["oldestProtocol"] >= 1
        node.says("0.0.1", "too old")
        answer = connection.ask("levitate", 2)
        assert answer["say"] == "refused" and "levitate" in answer["body"]["cause"]
    hosts.serves("aaa")


# ---- Keys --------------------------------------------------------------------------------------------------------

class Locked:
    """Nodes a and b with keys of their own, which accept the desk's."""

    def __init__(self, hosts):
        self.hosts = hosts
        folder = hosts.desk.folder
        self.desk_key, self.stranger = Keys(folder, "desk"), Keys(folder, "stranger")
        hosts.key = self.desk_key
        for name in "ab":
            hosts.add(name, keys=Keys(folder, f"node-{name}"), accept=self.desk_key.public_file).start()

    def refused(self, *args, entry=None):
        """A run that must fail soon, with a line that names host b, and leaves the nodes as they were."""
        config = self.hosts.config({"one": ("a", FINE), "two": ("b", FINE)}, hosts={"b": entry} if entry else None, end_time=0.1)
        done = self.hosts.desk.run(config, *args, record=False, timeout=30).expect(2)
        assert done.seconds < 7, "told at once, not after the 10 s that nodes are waited for"
        assert not self.hosts.ends.exists(), "no module was started"
        line = error_line(done)
        self.hosts.rest()
        self.hosts.serves("aba")
        return line


@pytest.fixture
def locked(hosts):
    return Locked(hosts)


def test_keys_in_place(locked):
    locked.hosts.serves("aba")


def test_desk_without_a_key(locked):
    line = locked.refused()
    assert re.search("host [ab]", line) and "--key" in line, line


def test_key_that_the_node_does_not_accept(locked):
    line = locked.refused("--key", locked.stranger.path)
    assert re.search("host [ab]", line) and "accept" in line, line
    locked.hosts["a"].says("refused", "127.0.0.1", locked.stranger.public)


def test_wrong_key_of_a_node(locked):
    node = locked.hosts["b"]
    line = locked.refused("--key", locked.desk_key.path, entry=f'{{ endpoint: "{node.endpoint}", key: "{locked.stranger.public}" }}')
    assert "host b" in line and "key" in line, line
    node.says("warning", "key")


def test_missing_key_of_a_node(locked):
    node = locked.hosts["b"]
    line = locked.refused("--key", locked.desk_key.path, entry=f'{{ endpoint: "{node.endpoint}" }}')
    assert "host b" in line and "wants keys" in line and "key:" in line, line


def test_key_of_a_node_that_has_none(hosts):
    hosts.start("ab")
    key, other = Keys(hosts.desk.folder, "desk"), Keys(hosts.desk.folder, "other")
    config = hosts.config({"one": ("a", FINE), "two": ("b", FINE)},
                          hosts={"b": f'{{ endpoint: "{hosts["b"].endpoint}", key: "{other.public}" }}'}, end_time=0.1)
    done = hosts.desk.run(config, "--key", key.path, record=False, timeout=30).expect(2)
    line = error_line(done)
    assert "host b" in line and "key" in line, line
    assert done.seconds < 7
    hosts.serves("aba")


def test_accepted_keys_in_a_folder_change_while_the_node_runs(hosts):
    folder = hosts.desk.folder / "accepted"
    folder.mkdir()
    desk_key = Keys(hosts.desk.folder, "desk")
    hosts.add("a", keys=Keys(hosts.desk.folder, "node-a"), accept=folder).start()
    hosts.key = desk_key
    hosts.run(hosts.ring("aaa"), "--wait", "3", timeout=20).expect(2, "accept")
    shutil.copy(desk_key.public_file, folder / "desk.pub")
    hosts.serves("aaa")


def test_secret_keys_that_others_may_read(hosts):
    key = Keys(hosts.desk.folder, "open")
    key.path.chmod(0o644)
    node = hosts.add("a", keys=key, accept=key.public_file)
    done = subprocess.run(node.words(), capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "chmod 600" in done.stderr, done.stderr
    done = hosts.desk.run(hosts.ring("aaa"), "--key", key.path, record=False, timeout=20).expect(2, "chmod 600")


def test_off_loopback_needs_keys(hosts):
    node = hosts.add("a", address="0.0.0.0")
    done = subprocess.run(node.words(), capture_output=True, text=True, timeout=10)
    assert done.returncode == 64 and "--key" in done.stderr and "--insecure" in done.stderr, done.stderr
