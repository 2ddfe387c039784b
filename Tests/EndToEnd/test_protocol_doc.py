"""docs/protocol.md is true: `second_implementation.py`, written from it alone, takes the place of a real node beside another and
of a coordinator, and every message that it hears has the fields that the page gives it and no other."""
import itertools
import json
import os
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest
import zmq

from conftest import HERMES, PATIENCE, REPOSITORY, Running, segment_words, wait_for
from frame_model import Formula, FormulaModule, from_f64
from second_implementation import CONTROL, DONE, HEADER, LONGEST, MAGIC, MIRROR, STEP, Coordinator, Link, Lost, Node, groups, slot_of, value_of

PAGE = REPOSITORY / "docs/protocol.md"
NODE = HERMES.with_name("hermes-node")
KINDS = ["f64", "f32", "i64", "i32", "bool"]


# ---- The page's tables -------------------------------------------------------------------------------------------

def messages_of_the_page():
    """{message: {path of a field: whether it must be there}}, from the headings that are a name in backquotes."""
    messages, fields = {}, None
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"#+ (.+)$", line):
            name = re.fullmatch(r"`(\w+)`", heading[1])
            fields = messages.setdefault(name[1], {}) if name else None
        elif fields is not None and (row := re.match(r"\| `([\w.\[\]]+)` \| (\w+)(\??) \|", line)):
            fields[row[1]] = (row[2], not row[3])
    messages["stuck"] = messages["failed"]
    return messages


def paths(value, prefix=""):
    """Every field of a body with its path, as the page writes it; a list of anything but objects is one field."""
    if isinstance(value, dict) and (value or not prefix):
        for key, inner in value.items():
            yield from paths(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        for entry in value:
            yield from paths(entry, f"{prefix}[]")
    else:
        yield prefix, value


WORDS = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "list": list}


class Listener:
    """Compares what is heard with the page."""

    def __init__(self):
        self.page = messages_of_the_page()
        self.complaints = []
        self.names = set()

    def __call__(self, say, body):
        self.names.add(say)
        if say not in self.page:
            self.complaints.append(f"the page has no `{say}`")
            return
        fields, seen = self.page[say], list(paths(body))
        for path, value in seen:
            # An empty list may be one of objects.
            if path not in fields and not (value == [] and any(name.startswith(path + "[]") for name in fields)):
                self.complaints.append(f"`{say}` has a field {path} that the page does not name")
            elif path in fields and value is not None and not isinstance(value, WORDS[fields[path][0]]):
                self.complaints.append(f"`{say}`: {path} is {value!r}, not of the type {fields[path][0]}")
        for path, (_, must) in fields.items():
            parent, _, key = path.rpartition(".")
            if must and not all(key in owner for owner in owners(body, parent)):
                self.complaints.append(f"`{say}` lacks {path}")


def owners(body, path):
    """The objects that a path leads to."""
    found = [body]
    for part in filter(None, path.split(".")):
        key = part.removesuffix("[]")
        found = [inner for owner in found if key in owner for inner in (owner[key] if part.endswith("[]") else [owner[key]])]
    return found


@pytest.fixture
def heard():
    listener = Listener()
    yield listener
    assert not listener.complaints, "\n".join(sorted(set(listener.complaints)))


# ---- Nodes --------------------------------------------------------------------------------------------------------

PORTS = itertools.count(20000 + os.getpid() % 1000 * 10, 10)


def free_ports(count=10):
    """The first of so many neighbours, which nobody gets a second time."""
    for first in itertools.islice(PORTS, 200):
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    pytest.fail("no ports are free")


class RealNode:
    """A `hermes-node` of this test's own. `with RealNode(desk.folder, root) as node: ...`"""

    def __init__(self, folder, root, *options, endpoint=None):
        self.port = free_ports()
        self.endpoint = endpoint or f"tcp://127.0.0.1:{self.port}"
        self.log = folder / f"node-{self.port}.log"
        ports = [] if endpoint else ["--ports", f"{self.port + 1}-{self.port + 9}"]
        self.words = [str(NODE), "--listen", self.endpoint, "--modules", str(root), *ports, *map(str, options)]

    def __enter__(self):
        assert NODE.exists(), f"no {NODE}; build it"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: "listening on" in self.said or self.process.poll() is not None, "hermes-node listens")
        assert self.process.poll() is None, self.said
        return self

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    def __exit__(self, kind, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if kind is None:
                pytest.fail(f"hermes-node did not end on SIGTERM\n{self.said}")
        assert kind is not None or self.process.returncode == 0, self.said


class FormulaOnNode:
    """modules/formula.c in Python, for the second implementation's node."""

    def __init__(self, text):
        formula = Formula.parse(text)
        self.module = FormulaModule(formula, {}, set())
        self.signals = [
            {"name": name, "type": KINDS.index(signal.kind), "writable": bool(signal.flags & {"writable", "input"}),
             "published": "hidden" not in signal.flags, "isNamedAccess": False,
             "direction": ("input" in signal.flags) + 2 * ("output" in signal.flags)}
            for name, signal in formula.signals.items()]
        self.stage, self.reset, self.step = self.module.stage, self.module.reset, self.module.step
        self.has_terminated = False

    def read(self, name, kind):
        return self.module.read(name, KINDS[kind])

    def hand_over(self, name, value, kind):
        self.module.hand_over(name, value, KINDS[kind])

    def terminate(self):
        self.has_terminated = True


def formula_maker(root):
    return lambda item: FormulaOnNode((root / item["configuration"]).read_text())


# ---- A simulation over three hosts --------------------------------------------------------------------------------

FORMULAS = {
    "source": """
        signal count i64 output = 3
        signal wave f64 output,writable = 0.1
        signal flag bool output = 0
        signal back f64 input = 0.5
        count = mix count n
        wave = wave * 1.0001 + back * 0.37 min 1000 max -1000
        flag = wave - 0.2
        """,
    "relay": """
        signal seen f32 input = -1
        signal whole i32 input = 7
        signal loop f64 input = 2
        signal sum f32 output = 0
        signal elapsed f64 output = 0
        signal gain f64 writable = 1.5
        sum = sum * 0.5 + seen + whole * gain
        elapsed = elapsed + dt
        """,
    "mixer": """
        signal left f64 input = 0
        signal right i64 input = 0
        signal on bool input = 0
        signal passed f32 input = 9
        signal out f64 output = 1
        out = out * 0.25 + left + right * on + time
        """,
    "tail": """
        signal end f64 input = 0
        signal steps i32 output = 0
        signal far i64 input = 4
        steps = steps + end
        """,
}
WIRING = """wiring:
  - { src: source.wave, dst: relay.seen, gain: 0.5, offset: 0.25 }
  - { src: source.count, dst: relay.whole, gain: 1.0e-12 }
  - { src: mixer.out, dst: relay.loop }
  - { src: relay.sum, dst: mixer.left, gain: 3 }
  - { src: source.count, dst: mixer.right, gain: 1.0e-15 }
  - { src: source.flag, dst: mixer.on }
  - { src: relay.seen, dst: mixer.passed }
  - { src: mixer.out, dst: source.back, gain: -0.125 }
  - { src: relay.loop, dst: tail.end }
  - { src: mixer.right, dst: tail.far }
"""


def configuration(name, placement, hosts, frames=200):
    """`placement`: host of each module, None for the desk. `hosts`: lines of `hosts:`, in order."""
    def module(one):
        host = f", host: {placement[one]}" if placement.get(one) else ""
        rate = ", rate_hz: 50" if one == "relay" else ""
        return f"  {one}: {{ type: process, executable: ./formula, config: ./{one}.formula{rate}{host} }}\n"
    return (f'version: "0.2"\nname: {name}\n' + ("hosts:\n" + "".join(hosts) if hosts else "")
            + "modules:\n" + "".join(map(module, FORMULAS)) + WIRING
            + f"execution: {{ mode: afap, rate_hz: 100, end_time: {frames / 100}, schedule: [[source, tail], relay, mixer] }}\n")


@pytest.fixture
def root(desk):
    """Desk and nodes share one folder of modules here."""
    desk.module("formula")
    for name, text in FORMULAS.items():
        desk.write(f"{name}.formula", text)
    desk.folder.chmod(0o755)
    return desk.folder


PLACEMENT = {"source": None, "relay": "rack", "mixer": "bench", "tail": "bench"}


def digest_and_rows(desk, text, *options):
    done = desk.run(text, "--digest", *options).expect(0)
    return re.search(r"digest (\w+)", done.stdout)[1], desk.record.read_text()


@pytest.mark.parametrize("second_dials", [False, True], ids=["dialled", "dialling"])
@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
def test_a_second_node_gives_the_same_bits_as_a_real_one(desk, root, heard, with_keys, second_dials):
    alone = digest_and_rows(desk, configuration(desk.name, {}, []))
    keys, node_options, run_options, own = {}, [], [], {}
    if with_keys:
        for who in ("coordinator", "bench", "rack"):
            keys[who] = zmq.curve_keypair()
            secret = desk.write(f"{who}.key", keys[who][1].decode() + "\n")
            secret.chmod(0o600)
            desk.write(f"{who}.key.pub", keys[who][0].decode() + "\n")
        node_options = ["--key", root / "bench.key", "--accept", root / "coordinator.key.pub"]
        run_options = ["--key", root / "coordinator.key"]
        own = {"keys": keys["rack"], "accepts": [keys["coordinator"][0]]}
    port = free_ports()
    with RealNode(root, root, *node_options) as bench, \
            Node(f"tcp://127.0.0.1:{port}", formula_maker(root), ports=range(port + 1, port + 10), heard=heard, **own) as rack:
        lines = {"bench": bench.endpoint, "rack": rack.endpoint}
        hosts = [f"  {host}: {{ endpoint: '{endpoint}'" + (f", key: '{keys[host][0].decode()}'" if with_keys else "") + " }\n"
                 for host, endpoint in lines.items()]
        if not second_dials:
            hosts.reverse()
        text = configuration(desk.name, PLACEMENT, hosts)
        for _ in range(2):
            assert digest_and_rows(desk, text, *run_options) == alone
        wait_for(lambda: len(rack.past) == 2 and not any(run.is_alive() for run in rack.past), "both runs are over")
    assert all(run.link.dropped == 0 for run in rack.past)
    assert heard.names >= {"hello", "open", "setup", "launch", "prepare", "stage", "show", "terminate"}
