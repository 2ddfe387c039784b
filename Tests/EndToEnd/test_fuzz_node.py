"""A node that all sorts of rubbish comes to neither dies nor grows nor stops serving, and no run of it is disturbed.

HERMES_FUZZ_SECONDS   how long rubbish is thrown, in all (default 8)
HERMES_FUZZ_SEED      of the rubbish (default 1); a failure names it
"""
import contextlib
import json
import os
import random
import re
import threading
import time

import pytest
from conftest import Running, segment_words, wait_for
from fuzz_node import CONTROL, MESSAGES, RUN_MESSAGES, STEP, Fuzzer, MadDesk
from hosts import Keys, hosts  # noqa: F401 (a fixture)
from relay import Relay
from zmtp import Curve, control

SECONDS = float(os.environ.get("HERMES_FUZZ_SECONDS", 8))
SEED = int(os.environ.get("HERMES_FUZZ_SEED", 1))
ROOM = 48 << 20
"""Bytes that a node may have in use afterwards beyond what it had before."""


def with_keys(hosts):
    folder = hosts.desk.folder
    hosts.key = Keys(folder, "desk")
    for name in "ab":
        hosts.add(name, keys=Keys(folder, f"node-{name}"), accept=hosts.key.public_file).start()


def recorded(hosts):
    """What a desk says to host a: to its endpoint, and to the run's port."""
    node = hosts["a"]
    entry = hosts.entry(node).replace("127.0.0.1", "127.0.0.8")
    with Relay("127.0.0.8", [node.port, *node.ports], "127.0.0.1") as relay:
        hosts.run(hosts.ring("ab-", name=f"{hosts.desk.name}-recorded", hosts={"a": entry}, end_time=0.1)).expect(0)
        return [bytes(said) for said in relay.carried]


@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
def test_rubbish(hosts, keys):
    if keys:
        with_keys(hosts)
    else:
        hosts.start("ab")
    node = hosts["a"]
    outside = hosts.desk.folder / "outside"
    outside.mkdir()
    (node.root / "link").symlink_to(outside)
    recordings = recorded(hosts)
    mechanism = b"CURVE" if keys else b"NULL"
    resident = node.resident()
    seconds = SECONDS / 2
    with Running(hosts.desk, hosts.ring("ab-", mode="realtime", end_time=seconds), *hosts.keyed, "--digest", record=False) as sim:
        sim.ready()
        port = int(re.findall(rf"{hosts.desk.name}: a run begins on port (\d+)", node.said)[-1])
        fuzzers = [Fuzzer(("127.0.0.1", node.port), SEED, recorded=recordings, mechanism=mechanism),
                   Fuzzer(("127.0.0.1", port), SEED + 1, password=b"no such token", recorded=recordings,
                          mechanism=b"CURVE" if keys else b"PLAIN")]
        stranger, desk = Keys(hosts.desk.folder, "stranger"), hosts.key
        while sim.process.poll() is None:
            for fuzzer in fuzzers:
                fuzzer.throw()
            if keys and fuzzers[0].random.random() < 0.05:
                rubbish_by_curve(node, fuzzers[0], desk, stranger)
        attacks = [sum(fuzzer.counts.values()) for fuzzer in fuzzers]
        assert node.process.poll() is None, f"seed {SEED}\n{node.said}"
        done = sim.finish(30).expect(0)
    assert min(attacks) > 20 * seconds, f"only {attacks} attacks: the fuzzer itself was held up"
    if keys:
        with as_desk(node, desk) as connection:
            for run in fuzzers[0].opened:
                connection.send(control("end", 0, {"run": run}))
            hear_out(connection)
    for fuzzer in fuzzers:
        fuzzer.close()
    assert done.stdout == hosts.reference(end_time=seconds), f"seed {SEED}: the run was disturbed"
    assert len(done.stderr.splitlines()) < 40, f"seed {SEED}: rubbish fills the desk's console\n{done.stderr[:4000]}"
    assert list(outside.iterdir()) == [], f"seed {SEED}: something was written outside the module root"
    # Runs that rubbish began are for nobody: the fuzzer has ended those it knows of.
    node.rests()
    wait_for(lambda: node.resident() < resident + ROOM, f"seed {SEED}: memory is given back", 20)
    lines = [line for line in node.said.splitlines() if not re.search(r"a run begins|the run (is over|ends)|: refused: |: took fuzz/", line)]
    assert len(lines) < 100, f"seed {SEED}: rubbish fills the log\n" + "\n".join(lines[:120])
    assert all(line.isprintable() for line in node.said.splitlines()), "what strangers say does not break the log's lines"
    hosts.serves("aba")


def as_desk(node, keys, timeout=5):
    return Curve(node.endpoint, node.keys.public, keys.public, keys.path.read_text().strip(), timeout)


def hear_out(connection):
    """Hears answers until that to a question of its own comes: then all that was said before has been read."""
    connection.send(control("hello", 99, MESSAGES[0][1]))
    while (answer := connection.receive()) and json.loads(answer)["id"] != 99:
        pass


def rubbish_by_curve(node, fuzzer, desk, stranger):
    """From somebody who has keys: of the desk, after all, or of a stranger, who is not let in."""
    keys = fuzzer.random.choice([desk, stranger])
    with as_desk(node, keys, timeout=1 if keys is stranger else 5) as connection:
        if keys is desk:
            # Before its first answer a caller may say little: much would cut it off (docs/protocol.md).
            hear_out(connection)
        for _ in range(5):
            say, body = fuzzer.message()
            odd = fuzzer.remember(control(say, 1, fuzzer.odd_body(body)))
            rubbish = fuzzer.random.choice([fuzzer.bytes(), b"", odd, b"{" * 9999])
            parts = fuzzer.random.choice([1, 1, 1, 2, 5])
            for part in range(parts):
                if not connection.send(rubbish, more=part < parts - 1):
                    return
        if keys is desk:
            hear_out(connection)


def test_flood_does_not_keep_others_waiting(hosts):
    """While somebody talks without a pause, another run begins, goes on and ends."""
    hosts.start("ab")
    flood = Fuzzer(("127.0.0.1", hosts["a"].port), SEED)
    message = control("hello", 1, MESSAGES[0][1])
    over = threading.Event()

    def talk():
        with flood.connect(greets=True) as connection:
            connection.socket.settimeout(0.2)
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection.write((bytes([0, len(message)]) + message) * 100)
    thread = threading.Thread(target=talk)
    thread.start()
    try:
        hosts.serves("aba")
    finally:
        over.set()
        thread.join()


# ---- A desk that is let in and goes mad --------------------------------------------------------------------------

def mad(hosts, number=7):
    return MadDesk(("127.0.0.1", hosts["a"].port), f"{hosts.desk.name}-mad{number}", number)


def test_sound_desk(hosts):
    """What follows would prove nothing if all of this were refused."""
    node = hosts.start("a")["a"]
    with mad(hosts) as desk:
        desk.lead("terminate")
        desk.send(STEP, count=3, first=1, epoch=1)
        assert desk.word() == 3
        assert desk.ask("terminate", {"hurried": False})["say"] == "ok"
    node.rests()
    hosts.serves("aaa")


@pytest.mark.parametrize("entry, words", [
    ({"environment": ["LD_PRELOAD", "/tmp/x.so"]}, ["LD_PRELOAD"]),
    ({"environment": ["PYTHONPATH", "/tmp"]}, ["PYTHONPATH"]),
    ({"environment": ["HERMES_X", "1"]}, ["HERMES_X"]),
    ({"environment": ["LONELY"]}, []),
    ({"kind": "inproc"}, ["--allow-inproc"]),
    ({"kind": "wizard"}, []),
    ({"program": "../root-a/formula"}, ["root"]),
    ({"program": "/bin/sh"}, ["root"]),
    ({"program": ""}, []),
    ({"configuration": "/etc/hostname"}, ["root"]),
    ({"workingDirectory": "../.."}, ["root"]),
], ids=lambda value: str(value)[:30])
def test_what_a_node_refuses_to_start(hosts, entry, words):
    """Whoever asks: the configuration's own checks are on the desk."""
    node = hosts.start("a")["a"]
    with mad(hosts) as desk:
        desk.lead("launch")
        module = {**RUN_MESSAGES[1][1]["modules"][0], **entry}
        answer = desk.ask("launch", {"modules": [module]})
        assert answer["say"] == "failed" and answer["body"]["module"] == "m" and answer["body"]["host"] == "a", answer
        for word in words:
            assert word in answer["body"]["cause"], answer
    node.rests()


def test_desk_that_goes_mad(hosts):
    """Each time it leads a run so far, then says something that does not belong there. The run ends, or goes on; the node and
    its other run don't mind, and nothing is left."""
    hosts.start("ab")
    node = hosts["a"]
    chance = random.Random(SEED)
    fuzzer = Fuzzer(("127.0.0.1", node.port), SEED)
    with hosts.live(watched="ab") as sim:
        sim.ready().frame(3)
        end = time.monotonic() + SECONDS / 2
        number = 100
        while time.monotonic() < end:
            number += 1
            with contextlib.suppress(OSError, EOFError), mad(hosts, number) as desk:
                misled = chance.randrange(len(RUN_MESSAGES))
                say, body = RUN_MESSAGES[misled]
                desk.lead(say)
                go_mad(desk, chance, fuzzer, say, body, sim)
                desk.link.socket.settimeout(0.05)
                desk.word()
        assert node.process.poll() is None, node.said
        _, frame = segment_words(sim.name)
        sim.frame(frame + 20)
        sim.command("stop")
        sim.finish(20).expect(0)
    node.rests()
    crashed = [line for line in node.said.splitlines() if "its process ended by signal" in line]
    assert not crashed, f"seed {SEED}: a run's process crashed\n" + "\n".join(crashed[:5])
    hosts.serves("aba")


def go_mad(desk, chance, fuzzer, say, body, sim):
    ways = [
        lambda: desk.say(say, fuzzer.odd_body(body)),
        lambda: desk.say(say, fuzzer.odd_body(fuzzer.odd_body(body))) if isinstance(body, dict) else None,
        lambda: [desk.say(*chance.choice(RUN_MESSAGES)) for _ in range(5)],
        lambda: desk.say(chance.choice(["sing", "", "x" * 1000, "\n"]), body),
        lambda: desk.send(CONTROL, chance.randbytes(300)),
        lambda: desk.send(CONTROL, b"{" * 9999),
        lambda: desk.send(chance.randrange(256), chance.randbytes(100), chance.randrange(1 << 16), chance.randrange(1 << 32),
                          chance.randrange(1 << 32), chance.getrandbits(64)),
        lambda: desk.send(STEP, count=chance.choice([0, 1, 1024, 1025, 2**32 - 1]), first=chance.choice([0, 1, 2, 2**64 - 1]),
                          epoch=chance.choice([0, 1])),
        lambda: desk.send(STEP, count=1, first=1, epoch=1, run=12345),
        lambda: desk.link.write(chance.randbytes(500)),
        lambda: desk.link.write(b"\x01\0" * 2000 + b"\0\0"),
        lambda: None,
    ]
    for _ in range(chance.randrange(1, 4)):
        chance.choice(ways)()
