"""One field of one message is another than it was: for every field of every message that a desk and a node say to each other,
seen to pass between two real ones, both ways. Neither side crashes, hangs or grows, and whoever ends by it says why.

HERMES_FUZZ_FIELDS   how many changes are tried of each conversation (default 8; `all`: every edge of every field, hours)
HERMES_FUZZ_SEED     by which they are chosen (default 1); a failure names its change
"""
import os
import random
import time

import pytest
from conftest import Running, segment_words
from hosts import FORMULA, RING, hosts  # noqa: F401 (a fixture)
from meddler import EDGES, KINDS, LISTS, TEXTS, Change, Meddler

COUNT = os.environ.get("HERMES_FUZZ_FIELDS", "8")
SEED = int(os.environ.get("HERMES_FUZZ_SEED", 1))
ROOM = 48 << 20
"""Bytes that a node may have grown by in the end."""
SECONDS = 20
"""In which a command must have ended, whatever it was told."""


def far(hosts):
    """How the desk is to reach host a: through the man in the middle."""
    return hosts.entry(hosts["a"]).replace("127.0.0.1", "127.0.0.8")


def ring(hosts, **how):
    """A chain from host a over the desk and back, with an input that may be set."""
    modules = {"one": ("a", FORMULA), "two": (None, FORMULA), "three": ("a", FORMULA)}
    return hosts.config(modules, RING[:2], hosts={"a": far(hosts)}, **how)


def frames(hosts, *_):
    """A whole run: values to begin with, mirrors over the link, a timeline."""
    return hosts.run(ring(hosts, end_time=0.1, mirrors="zeromq"), "--set", "one.in=2", "--trace", "trace.json", "--digest", "--summary", "-",
                     "--wait", "1", timeout=SECONDS)


def streams(hosts, *_):
    """Mirrors over a connection of their own."""
    return hosts.run(ring(hosts, end_time=0.1, mirrors="tcp"), "--record", "out.csv", "--wait", "1", timeout=SECONDS)


def mishaps(hosts, *_):
    """In realtime, with a module that fails and is held, and one that prints."""
    modules = {"loud": ("a", "signal x\nstep 2 say that it steps"), "ill": ("a", "signal x\nstep 3 exit 3"), "one": ("a", FORMULA), "two": (None, FORMULA)}
    config = hosts.config(modules, RING[:1], hosts={"a": far(hosts)}, mode="realtime", end_time=0.1,
                          realtime="{ priority: 1 }", on_module_error="hold")
    return hosts.run(config, "--wait", "1", timeout=SECONDS)


def talk(hosts, *_):
    """What clients of a run ask of the other host."""
    name = hosts.desk.name
    with Running(hosts.desk, ring(hosts, mode="realtime", mirrors="zeromq"), "--wait", "1", record=False) as sim:
        deadline = time.monotonic() + 10
        while sim.process.poll() is None and (segment_words(name) or (0, 0))[0] not in (2, 3):
            assert time.monotonic() < deadline, sim.stderr
            time.sleep(0.01)
        for words in (["set", name, "one.in=3"], ["get", name, "one.out", "three.out"], ["reset", name], ["pause", name], ["step", name, 2], ["stop", name]):
            done = hosts.desk.command(*words, timeout=SECONDS)
            assert done.code in (0, 1, 2), done.said
        return sim.finish(SECONDS)


def commands(hosts, *_):
    """What is asked of a node without a run."""
    config = ring(hosts, end_time=0.1)
    worst = None
    for words in (["nodes"], ["doctor"], ["push"]):
        done = hosts.desk.command(*words, config, timeout=SECONDS)
        if worst is None or done.code > worst.code:
            worst = done
        (hosts["a"].root / "one.formula").unlink(missing_ok=True)
    hosts.furnish(hosts["a"].root)
    return worst


CONVERSATIONS = {each.__name__: each for each in (frames, streams, mishaps, talk, commands)}


def meddled(hosts, converse, change=None):
    node = hosts["a"]
    with Meddler("127.0.0.8", [node.port, *node.ports], "127.0.0.1", change) as meddler:
        return converse(hosts), meddler.places


def is_lost(side, name, field):
    """What is dropped without a word, as docs/protocol.md has it: who waits for it does so for minutes. The other tests of the fuzz
    send that, too."""
    if side == "desk" and field in ("hermes", "id", "say"):
        return True
    return name in KINDS.values() and field in ("magic", "kind", "run") or (name, field) == ("step", "epoch")


def changes(places, chance):
    places = [place for place in places if not is_lost(*place)]
    if COUNT == "all":
        for place in places:
            for edge in [*EDGES, *TEXTS, *LISTS, "missing"]:
                yield Change(place, edge)
        return
    # Each field is as likely as any other, and numbers are what most go wrong by.
    for place in chance.sample(places, min(int(COUNT), len(places))):
        yield Change(place, chance.choice(EDGES if chance.random() < 0.75 else [*TEXTS, *LISTS, "missing"]), seed=chance.random())


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_a_field_that_is_another(hosts, conversation):
    hosts.start("a")
    node, converse = hosts["a"], CONVERSATIONS[conversation]
    done, places = meddled(hosts, converse)
    assert done.code in ((0, 2) if conversation == "commands" else (0,)), done.said
    assert {side for side, _, _ in places} == {"desk", "node"}
    resident, faults = node.resident(), []
    for change in changes(places, random.Random(f"{SEED} {conversation}")):
        fault = outcome(hosts, converse, change)
        if fault:
            faults.append(f"{conversation}: {change}: {fault}")
        assert node.process.poll() is None, "\n".join(faults + [node.said[-2000:]])
        node.rests()
    assert not faults, f"seed {SEED}\n" + "\n----\n".join(faults)
    assert node.resident() < resident + ROOM, f"seed {SEED}: the node grew from {resident} to {node.resident()} bytes"
    hosts.serves("aaa")


def outcome(hosts, converse, change):
    """What is wrong with how both sides took it; None for nothing."""
    node = hosts["a"]
    said = len(node.said)
    try:
        done, _ = meddled(hosts, converse, change)
    except (pytest.fail.Exception, AssertionError) as error:
        return f"{error}\n--- the node\n{node.said[said:]}"
    if done.code not in (0, 1, 2) or "Fatal error" in done.said:
        return f"exit {done.code}\n{done.said[-2000:]}"
    if "ended by signal" in node.said[said:]:
        return f"a process of the node crashed\n{node.said[said:]}"
    if converse is not commands and done.code and not ("error" in done.stderr and "host" in done.stderr):
        return f"the failure is not explained\n{done.said[-2000:]}"
    return None
