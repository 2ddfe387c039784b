"""However many frames a step message grants, every bit is the same: recordings, digests, the edge at which something is set,
where a run pauses, and what is complete when a module fails.

HERMES_GRANT_CASES      how many random simulations, each with every window (default 8)
HERMES_PROPERTY_SEED    the first seed (default 1); a failure names its own
"""
import json
import os
import random
from types import SimpleNamespace

import plain_yaml
import pytest
from cases import act, assignments, compare, explain, set_arguments
from conftest import Running, summary
from hosts import FORMULA, FORMULAS, hosts  # noqa: F401 (a fixture)
from random_simulations import random_simulation
from relay import Relay
from test_placement import counting, lay_out, nodes, place, write_beside, write_there  # noqa: F401 (a fixture)

CASES = int(os.environ.get("HERMES_GRANT_CASES", 8))
FIRST = int(os.environ.get("HERMES_PROPERTY_SEED", 1))
WINDOWS = [1, 2, 3, 7, 32, 1024, None]
"""None: as many as Hermes likes."""


def window_words(window):
    return [] if window is None else ["--grant", window]


# ---- Random simulations ------------------------------------------------------------------------------------------

def longer(case):
    """The same with more frames a step, so that windows of several fit into one and don't divide it."""
    case.actions = [("step", 5 * what[0] - 2) if verb == "step" else (verb, *what) for verb, *what in case.actions]
    return case


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CASES))
def test_any_window_gives_the_same_bits(seed, desk, nodes):
    """Each against the model; those with actions are stepped, set from the desk and beside it, and reset."""
    case = longer(random_simulation(seed, desk.name))
    placed = place(random.Random(f"placement {seed}"), case.config, nodes)
    lay_out(desk, placed, case, nodes)
    config = desk.write("placed.yaml", plain_yaml.dump(placed))
    digests = {}
    for window in WINDOWS:
        def told(sentence):
            text = explain(seed, case, f"--grant {window}: {sentence}", placed)
            return text.replace("PROPERTY_CASES", "GRANT_CASES")

        rng = random.Random(f"ways {seed}")
        arguments = [*set_arguments(case), *nodes.arguments(placed["hosts"]), *window_words(window), "--digest", "--summary", "-"]
        for part in desk.folder.glob("out*.csv"):
            part.unlink()
        if case.actions:
            with Running(desk, config, *arguments) as sim:
                ways = [lambda texts: write_beside(desk, case, placed, texts), lambda texts: sim.command("set", *assignments(texts))]
                done = act(sim, case.actions, lambda texts: rng.choice(ways)(texts))
        else:
            done = desk.run(config, *arguments)
        compare(done, case, told)
        said = summary(done)
        digests[window] = (said["digest"], tuple(said.get("earlier_digests") or ()))
    assert len(set(digests.values())) == 1, explain(seed, case, f"digests differ: {digests}", placed)


# ---- Pause, resume, step, set, reset, stop ------------------------------------------------------------------------

def frame_of(sim):
    return json.loads(sim.command("status", "--format", "json").stdout)["frame"]


@pytest.mark.parametrize("window", WINDOWS)
def test_what_happens_at_a_frame_happens_there_on_every_host(desk, nodes, window):
    """As fast as possible on five hosts and the desk: where it pauses, what is set shows from the next frame on, however long the
    window; the frame it pauses at before it stops is the last one recorded."""
    config, modules = counting(desk, nodes)
    with Running(desk, config, *nodes.arguments(nodes), *window_words(window)) as sim:
        sim.ready().frame(3)
        edges = []
        for value in range(1, 4):
            sim.command("pause")
            paused = frame_of(sim)
            assert frame_of(sim) == paused
            if value == 2:  # as scripts on the hosts do, one call on each
                for module, host in zip(modules, (None, *nodes)):
                    write_there(desk.name, host, {f"{module}.p": value})
            else:
                sim.command("set", *(f"{module}.p={value}" for module in modules))
            edges.append((paused, value))
            sim.command("step", 4)
            assert frame_of(sim) == paused + 4
            sim.command("resume")
            sim.frame(paused + 40)
        sim.command("pause")
        ended = frame_of(sim)
        sim.command("reset")
        sim.command("step", 9)
        assert frame_of(sim) == 9
        sim.command("stop")
        done = sim.finish().expect(0)
    first, second = done.epochs
    assert first.frames == list(range(ended + 1)) and second.frames == list(range(10))
    for module in modules:
        assert [int(count) for count in first.column(f"{module}.count")] == first.frames
        changes = [(frame - 1, int(row[f"{module}.p"])) for frame, row in enumerate(first.rows)
                   if frame and row[f"{module}.p"] != first.rows[frame - 1][f"{module}.p"]]
        assert changes == edges, module


# ---- A module fails -----------------------------------------------------------------------------------------------

HEALTHY = "signal seen f64 input = 0\nsignal out f64 output = 1\nout = seen + n\n"
SHAPES = {
    "cycle": [("one", "two"), ("two", "three"), ("three", "one")],
    "forward": [("one", "two"), ("two", "three")],
    "apart": [],
}
FAILS_IN = 23


def recorded_until_failure(desk, nodes, shape, failing, window):
    """The frames in the recording of a run over two hosts and the desk, of which one module fails in frame FAILS_IN."""
    config = {"version": "0.2", "name": desk.name, "hosts": {host: nodes.entry(host) for host in ("red", "pink")}, "modules": {}}
    case = SimpleNamespace(formulas={})
    for module, host in (("one", "red"), ("two", "pink"), ("three", None)):
        folder = f"./{desk.name}" if host else "."
        config["modules"][module] = {"type": "process", "executable": f"{folder}/formula", "config": f"{folder}/{module}.formula",
                                     **({"host": host} if host else {})}
        case.formulas[module] = HEALTHY + (f"fail {FAILS_IN}\n" if module == failing else "")
    if SHAPES[shape]:
        config["wiring"] = [{"src": f"{one}.out", "dst": f"{other}.seen"} for one, other in SHAPES[shape]]
    config["execution"] = {"mode": "afap", "rate_hz": 1000, "end_time": 5}
    lay_out(desk, config, case, nodes)
    done = desk.run(desk.write("failing.yaml", plain_yaml.dump(config)), *window_words(window))
    done.expect(2, f"module {failing}", f"frame {FAILS_IN}")
    return done.recording.frames


@pytest.mark.parametrize("window", [1, 3, 1024])
@pytest.mark.parametrize("failing", ["one", "two", "three"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_frame_from_the_failure_on_is_complete(desk, nodes, shape, failing, window):
    """Alone, a frame is not granted before the one before it is complete: then all before the failure are recorded."""
    frames = recorded_until_failure(desk, nodes, shape, failing, window)
    assert frames == list(range(len(frames)))
    assert len(frames) <= FAILS_IN
    # What was granted before the window in which it failed was complete before.
    assert len(frames) > (FAILS_IN - 1) // window * window


@pytest.mark.parametrize("failing", ["one", "two", "three"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_frame_before_the_failure_is_complete(desk, nodes, shape, failing):
    assert recorded_until_failure(desk, nodes, shape, failing, 1024) == list(range(FAILS_IN))


# ---- Far from each other ------------------------------------------------------------------------------------------

@pytest.fixture
def held(hosts):
    """Hosts a and b. What a says, to the desk too, goes through a relay that can hold it back; what it hears does not."""
    hosts.start("ab")
    node = hosts["a"]
    with Relay("127.0.0.9", [node.port, *node.ports], "127.0.0.1") as relay:
        hosts.relay = relay
        hosts.behind = {"a": node.endpoint.replace("127.0.0.1", "127.0.0.9").join(('{ endpoint: "', '" }'))}
        yield hosts


def noting(path, frames):
    """A module that notes when it comes to these frames."""
    return "signal out\n" + "\n".join(f"step {frame} write {path}" for frame in frames)


def notes(path):
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


SINK = "signal seen f64 input = 0\nsignal sum f64 output = 0\nsum = sum + seen\n"


@pytest.mark.parametrize("mirrors", ["tcp", "zeromq"])
def test_a_host_that_only_feeds_others_runs_ahead(held, desk, mirrors):
    """As far as it was granted, while its first word is still on the way; and nothing is lost of what it said."""
    path = desk.folder / "notes"
    (held["b"].root / "sink.formula").write_text(SINK)
    (desk.folder / "sink.formula").write_text(SINK)
    wires = [("source.out", "sink.seen")]

    def config(a, b, file, **how):
        modules = {"source": (a, noting(path, (1, 2, 50))), "sink": (b, FORMULA), "watch": (b, noting(path, (2, 50)))}
        return held.config(modules, wires, hosts=held.behind, file=file, mirrors=mirrors, **how)

    with Running(desk, config("a", "b", "far", mode="single_frame"), "--grant", 50) as sim:
        sim.ready()
        held.relay.hold()
        stepping = desk.begin("step", sim.name, 50)
        sim.until(lambda: ("source", "step", "50") in notes(path), "the source is at frame 50")
        assert "watch" not in {module for module, *_ in notes(path)}, "the sink's host goes on without what it is owed"
        held.relay.let_go()
        assert stepping.wait(60) == 0
        sim.command("stop")
        far = sim.finish().expect(0).recording
    path.unlink()
    alone = desk.run(config(None, None, "alone", end_time=0.5)).expect(0).recording
    assert far.frames == list(range(51)) and far.rows == alone.rows


@pytest.mark.parametrize("mirrors", ["tcp", "zeromq"])
def test_a_cycle_waits(held, desk, mirrors):
    """Neither host is more than a frame ahead of what it heard."""
    path = desk.folder / "notes"
    config = held.config(
        {"one": ("a", noting(path, range(1, 51))), "two": ("b", noting(path, range(1, 51))), "loop": ("a", FORMULA), "back": ("b", FORMULA)},
        [("loop.out", "back.in"), ("back.out", "loop.in")], hosts=held.behind, mode="single_frame", mirrors=mirrors)
    for host, module in (("a", "loop"), ("b", "back")):
        (held[host].root / f"{module}.formula").write_text(FORMULAS["two"])
    with Running(desk, config, "--grant", 50) as sim:
        sim.ready()
        held.relay.hold()
        stepping = desk.begin("step", sim.name, 50)
        sim.until(lambda: {("one", "step", "2"), ("two", "step", "1")} <= set(notes(path)), "the one that hears is at frame 2")
        assert len(notes(path)) == 3, notes(path)
        held.relay.let_go()
        assert stepping.wait(60) == 0
        sim.command("stop")
        assert sim.finish().expect(0).recording.frames == list(range(51))


@pytest.mark.parametrize("mirrors", ["tcp", "zeromq"])
@pytest.mark.parametrize("window", [1, 7, None])
def test_hosts_far_from_each_other_give_the_same_digest(hosts, window, mirrors):
    """What host a and the others say to each other takes 5 ms and comes in pieces."""
    hosts.start("ab")
    node = hosts["a"]
    entry = f'{{ endpoint: "tcp://127.0.0.9:{node.port}" }}'
    with Relay("127.0.0.9", [node.port, *node.ports], "127.0.0.1", delay=0.005):
        done = hosts.run(hosts.ring("ab-", hosts={"a": entry}, end_time=0.3, mirrors=mirrors), "--digest", *window_words(window)).expect(0)
    assert done.stdout == hosts.reference(end_time=0.3)
    hosts.rest()


# ---- Windows that there are not -----------------------------------------------------------------------------------

@pytest.mark.parametrize("count", ["0", "1025", "1000000000", "99999999999999999999999", "x", "1.5", ""])
def test_a_window_that_there_is_not(desk, count):
    done = desk.command("run", desk.write("sim.yaml", "version: '0.2'\n"), "--grant", count)
    done.expect(64, "--grant", "1 to 1024" if count in ("0", "1025", "1000000000") else repr(count))
    assert not done.stdout


@pytest.mark.parametrize("mode, places, reason", [
    ("afap", "---", "all modules run on this host"), ("realtime", "---", "all modules run on this host"),
    ("realtime", "a--", "frames are granted one by one"), ("afap", "a--", None)])
def test_a_window_without_effect_is_said(hosts, mode, places, reason):
    hosts.start("a")
    done = hosts.run(hosts.ring(places, end_time=0.1, mode=mode), "--grant", 4).expect(0)
    if reason is None:
        assert "--grant" not in done.stderr
    else:
        done.expect(0, "hermes: --grant: no effect", reason)
    hosts.rest()
