"""A module writes over its simulation's segment while it runs. Either the run ends with exit code 2 and says that something did, or
its recording is what it would have been: it never hangs, never takes hermes or hermes-node down, and never says "completed" of
frames that did not happen. (Segments that were written over before they are opened: Tests/CHermes/scribble_test.c.)

HERMES_SCRIBBLES   how many at random (default 100)
"""
import mmap
import os
import random
import signal
import struct
import subprocess
import sys

import pytest
from conftest import LIBRARY, REPOSITORY, Running, segment_words, summary

SCRIBBLES = int(os.environ.get("HERMES_SCRIBBLES", 100))
BATCH = 20
FRAMES = 40

SIMULATION = """version: "0.2"
name: {name}
{hosts}modules:
  scribbler: {{ type: process, executable: ./scribbler, config: ./scribbler.do{far} }}
  a: {{ type: process, executable: ./formula, config: ./a.formula{far} }}
  b: {{ type: process, executable: ./formula, config: ./b.formula, rate_hz: 50{guard} }}
  c: {{ {kind}, config: ./c.formula }}
wiring:
  - {{ src: scribbler.count, dst: a.seen }}
  - {{ src: a.count, dst: b.seen }}
  - {{ src: b.twice, dst: c.seen, gain: 0.5 }}
execution: {{ mode: afap, rate_hz: 100, end_time: {end}, step_timeout_s: {timeout}, schedule: [[scribbler, a], b, c] }}
"""
FORMULAS = {
    "a": "signal seen i64 input = 0\nsignal count i64 output = 0\ncount = count + seen\n",
    "b": "signal seen i64 input = 0\nsignal twice i64 output = 0\ntwice = seen * 2\n",
    "c": "signal seen f64 input = 0\nsignal sum f64 output = 0\nsum = sum + seen\n",
}
NAMED = "wrote over the segment"


def lay_out(desk, place, do, frames=FRAMES, timeout=0.6, guard="", hosts="", far="", name=None, kind="type: process, executable: ./formula"):
    """`place` has the modules: the desk, or a node where `far` names its host."""
    for at in {desk, place}:
        at.module("formula")
        at.module("formula", shared=True)
        for module, text in FORMULAS.items():
            at.write(f"{module}.formula", text)
    place.module("scribbler")
    place.write("scribbler.do", do)
    return SIMULATION.format(name=name or desk.name, end=frames / 100, timeout=timeout, guard=guard, hosts=hosts, far=far, kind=kind)


def outcome(finished):
    """Checks what holds of every run, and gives the outcome of the summary."""
    assert finished.code in (0, 2), f"exit {finished.code}\n{finished.said}"
    told = summary(finished)
    assert told["outcome"] == ("completed" if finished.code == 0 else "failed"), finished.said
    if finished.code == 0:
        assert told["frames"] == FRAMES, finished.said
    else:
        assert "hermes: error:" in finished.stderr and "Fatal error" not in finished.stderr, finished.said
        assert "ended by signal" not in finished.stderr or "module scribbler" in finished.stderr, finished.said
    return told["outcome"]


def rows(recording):
    return [[row[column] for column in ["frame", "time", *recording.columns[2:]]] for row in recording.rows]


def scribbled_values(place):
    """Whether it wrote into the data itself, or where values pass through."""
    said = (place.root if hasattr(place, "root") else place.folder) / "scribbler.do.said"
    return any(line.startswith(("data", "stage")) for line in said.read_text().splitlines()) if said.exists() else False


@pytest.fixture
def sound(desk):
    """What a run records in which nothing is written over."""
    done = desk.run(lay_out(desk, desk, "frame 0\n"), "--summary", "-")
    assert outcome(done) == "completed", done.said
    return rows(done.recording)


def check(desk, place, sound, do, config=None, **settings):
    said = desk.folder / "scribbler.do.said"
    said.unlink(missing_ok=True)
    done = desk.run(config or lay_out(desk, place, do, **settings), "--summary", "-", timeout=40)
    try:
        told = outcome(done)
        recorded = rows(done.recording)
        if told == "completed" and not scribbled_values(place) and "held" not in done.stderr:
            assert recorded == sound
        assert [row[0] for row in recorded] == [row[0] for row in sound[:len(recorded)]]
    except AssertionError as error:
        written = said.read_text() if said.exists() else ""
        raise AssertionError(f"{do}{written}\n{done.said}\n{error}") from error
    return done


@pytest.mark.parametrize("do", ["zero", "ones", "punch", "cut", "cut in half"])
def test_all_of_it(desk, sound, do):
    size = {"cut": 0, "cut in half": 4096}.get(do, 8)
    done = check(desk, desk, sound, f"frame 20\ndo {do.split()[0]}\nsize {size}\n")
    done.expect(2, "desk", NAMED)
    assert summary(done)["frames"] < FRAMES


def test_a_wild_pointer_ends_who_has_it(desk, sound):
    """What only Hermes writes is read-only in the mapping that a module gets."""
    check(desk, desk, sound, "frame 20\ndo wild\n").expect(2, "module scribbler", "frame 20", "signal 11")


FIELDS = [
    # Looped over for ever, also past SIGTERM.
    ("control.queue_tail", 1 << 40), ("control.queue_tail", 3), ("control.queue_head", 1 << 40),
    # Counts and offsets that everybody goes by.
    ("control.module_count", 0), ("control.phase_count", 0), ("control.phase_count", 0xFFFFFFFF), ("control.queue_capacity", 0),
    ("control.modules_offset", 1 << 63), ("control.deliveries_offset", 0xFFFFFFFF), ("control.gathers", 1),
    ("module.divisor", 0), ("module.divisor", 1000), ("module.phase", 0x7FFFFFFF), ("module.kind", 1), ("module.guard", 1),
    ("phase.module_count", 0xFFFFFFFF), ("phase.module_count", 0), ("phase.module_begin", 0x80000000), ("phase.flags", 7),
    ("header.signal_count", 0xFFFFFFFF), ("header.magic", 0),
    # The words of the barrier.
    ("phase.pending", 1), ("phase.pending", 1000), ("control.generation", 0), ("control.completed", 0), ("control.node_turn", 77),
    ("control.node_turn", 1), ("control.fault", 1), ("control.current_frame", 5), ("control.node_sleeping", 0),
    ("module.step", 0), ("module.step", 0x7FFFFFFF), ("module.done", 0), ("module.sleeping", 0), ("module.command", 99),
    ("module.status", 5), ("module.stepped", 0), ("module.begin_ns", (1 << 64) - 1), ("module.end_ns", (1 << 64) - 1),
    ("phase.released_ns", (1 << 64) - 1), ("control.spin_ns", 0xFFFFFFFF), ("control.epoch", 9), ("control.state", 4),
    ("control.guard_look", 0), ("header.frame", 1 << 40),
]
"""Each is either named or has no effect."""


@pytest.mark.parametrize("part", range(4))
def test_each_field(desk, sound, part):
    for place, (field, value) in enumerate(FIELDS[part::4]):
        check(desk, desk, sound, f"frame 15\ntimes 3\ndo word\nseed {place}\nfield {field}\nvalue {value}\n")


@pytest.mark.parametrize("what", ["zero", "ones", "cut"])
@pytest.mark.parametrize("call", ["init", "stage"])
def test_before_the_first_frame(desk, call, what):
    done = desk.run(lay_out(desk, desk, f"when {call}\nsize 0\ndo {what}\n"), "--summary", "-", timeout=40)
    assert outcome(done) == "failed", done.said
    assert NAMED in done.stderr, done.said


@pytest.mark.parametrize("what", ["zero", "ones", "cut"])
def test_after_the_last_frame(desk, what):
    """All frames happened by then, and each module still reaches its safe state."""
    done = desk.run(lay_out(desk, desk, f"when terminate\nsize 0\ndo {what}\n"), "--summary", "-", timeout=40)
    assert outcome(done) == "completed", done.said
    assert "killed" not in done.stderr, done.said


@pytest.mark.parametrize("what", ["zero", "ones", "cut"])
def test_in_a_reset(desk, what):
    config = lay_out(desk, desk, f"when reset\nsize 0\ndo {what}\n", frames=10**6)
    with Running(desk, config, "--mode", "realtime", "--summary", "-") as sim:
        sim.frame(5)
        sim.desk.command("reset", sim.name)
        done = sim.finish(40)
    assert outcome(done) == "failed" and NAMED in done.stderr, done.said


@pytest.mark.parametrize("batch", range(-(-SCRIBBLES // BATCH)))
def test_anything_anywhere(desk, sound, batch):
    named = 0
    for seed in range(batch * BATCH, min((batch + 1) * BATCH, SCRIBBLES)):
        draw = random.Random(seed)
        do = f"frame {draw.randint(1, FRAMES - 1)}\ntimes {draw.choice([1, 1, 4])}\ndo word\nseed {seed}\n"
        guard = draw.choice(["", "", ", on_module_error: hold", ", on_module_error: restart"])
        # A module inside hermes makes the node wait for its own turn.
        kind = draw.choice(["type: process, executable: ./formula", "type: inproc, executable: ./formula.so"])
        named += check(desk, desk, sound, do, guard=guard, kind=kind).code == 2
    assert named, "none of them did anything"


@pytest.mark.parametrize("do, words", [("zero", NAMED), ("cut", NAMED), ("word\nfield control.phase_count\nvalue 0", NAMED)])
def test_on_a_node(desk, nodes, sound, do, words):
    bench = nodes.start("bench")
    config = lay_out(desk, bench, f"frame 20\nsize 0\ndo {do}\n", hosts=nodes.hosts, far=", host: bench")
    check(desk, bench, sound, do, config=config).expect(2, "host bench", words)
    assert bench.process.poll() is None, bench.log
    # The next run finds nothing of it.
    clean = lay_out(desk, bench, "frame 0\n", hosts=nodes.hosts, far=", host: bench")
    assert check(desk, bench, sound, "", config=clean).code == 0


def test_anything_on_a_node(desk, nodes, sound):
    """Values go to and from the other host meanwhile; it may be the one that says what it misses."""
    bench = nodes.start("bench")
    for seed in range(1000, 1000 + SCRIBBLES // 10):
        draw = random.Random(seed)
        do = f"frame {draw.randint(1, FRAMES - 1)}\ntimes {draw.choice([1, 4])}\ndo word\nseed {seed}\n"
        (bench.root / "scribbler.do.said").unlink(missing_ok=True)
        check(desk, bench, sound, do, config=lay_out(desk, bench, do, hosts=nodes.hosts, far=", host: bench"))
        assert bench.process.poll() is None, bench.log


PYTHON = """
import sys
from hermes.scripting import HermesError, SimulationAPI
try:
    with SimulationAPI(sys.argv[1]) as sim:
        for signal in sim.signals():
            sim.get(signal.name)
except HermesError as error:
    print(error)
"""


def test_commands_find_a_damaged_segment(desk):
    """Whatever stands in it, a command and a script either work or say why not."""
    config = lay_out(desk, desk, "frame 0\n", frames=10**6, timeout=0)
    script = desk.write("look.py", PYTHON)
    refused = 0
    with Running(desk, config, "--mode", "single_frame", record=False) as sim:
        sim.until(lambda: (segment_words(sim.name) or (0, 0))[0] == 3, "it is paused")
        path = f"/dev/shm/hermes_{sim.name}"
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as segment:
            sound = segment[:]
            control, data = struct.unpack_from("<QQ", sound, 40)
            extras, = struct.unpack_from("<Q", sound, control + 48)
            for seed, at in enumerate([0, 24, 32, 40, 48, 64, 68, 72, 76, 88, control + 16, control + 24, extras, extras + 8, data - 8]):
                draw = random.Random(seed)
                segment[at:at + 4] = draw.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", draw.randbytes(4)])
                done = desk.command("get", sim.name, "a.count")
                assert done.code in (0, 2), done.said
                refused += done.code
                python = subprocess.run([sys.executable, script, sim.name], capture_output=True, text=True, timeout=30,
                                        env={**desk.environment, "PYTHONPATH": str(REPOSITORY / "Sources/Python"),
                                             "HERMES_LIBRARY": str(LIBRARY / "libhermes.so")})
                assert python.returncode == 0, python.stderr
                segment[at:at + 4] = sound[at:at + 4]
            assert refused
            assert desk.command("get", sim.name, "a.count").code == 0


@pytest.mark.parametrize("mode", ["single_frame", "realtime"])
@pytest.mark.parametrize("what", ["zero", "cut"])
def test_from_outside(desk, mode, what):
    """By a program that is none of its modules, while they sleep; with no time-out that would end the wait for them."""
    config = lay_out(desk, desk, "frame 0\n", frames=10**6, timeout=0)
    with Running(desk, config, "--mode", mode, "--summary", "-") as sim:
        sim.ready()
        path = f"/dev/shm/hermes_{sim.name}"
        with open(path, "r+b") as file:
            if what == "zero":
                file.write(bytes(os.path.getsize(path)))
            else:
                os.ftruncate(file.fileno(), 0)
        if mode == "single_frame":
            desk.command("step", sim.name)
        done = sim.finish(30)
        assert outcome(done) == "failed" and NAMED in done.stderr, done.said


def test_a_module_that_nobody_woke(desk, sound):
    """The word that says it sleeps is gone, and nothing else: the frame is late, and right."""
    for seed in range(3):
        check(desk, desk, sound, f"frame 15\ntimes 1\ndo word\nseed {seed}\nfield module.sleeping\nvalue 0\n", timeout=0)


def test_ends_on_sigterm(desk):
    """A paused simulation sleeps on words of the segment as well."""
    config = lay_out(desk, desk, "frame 3\ndo word\nfield control.queue_tail\nvalue 0x10000000000\n", frames=10**6, timeout=0)
    with Running(desk, config, "--mode", "realtime", "--rate", "50", "--summary", "-") as sim:
        done = sim.finish(30)
        assert done.code == 2 and "queue" in done.stderr, done.said
    config = lay_out(desk, desk, "frame 3\ndo word\nfield control.attention_sleeping\nvalue 0\ntimes 1000000\n", frames=10**6, timeout=0)
    with Running(desk, config, "--mode", "realtime", "--rate", "50") as sim:
        sim.frame(5)
        sim.process.send_signal(signal.SIGTERM)
        assert sim.finish(30).code == 130


def test_a_run_beside_it_is_never_touched(desk, sound, tmp_path):
    name = f"{desk.name}-beside"
    beside = desk.write("beside.yaml", lay_out(desk, desk, "frame 0\n", frames=10**6, timeout=0, name=name))
    with Running(desk, beside, "--mode", "realtime", name=name, record=False) as sim:
        sim.ready()
        check(desk, desk, sound, "frame 20\ndo zero\n").expect(2, NAMED)
        check(desk, desk, sound, "frame 20\nsize 0\ndo cut\n").expect(2, NAMED)
        assert sim.process.poll() is None, sim.stderr
        sim.process.send_signal(signal.SIGTERM)
        assert sim.finish(30).code == 130
