"""docs/protocol.md is true: `second_implementation.py`, written from it alone, takes the place of a real node beside another and
of a coordinator, and every message that it hears has the fields that the page gives it and no other."""
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import struct
import time

import pytest
import zmq
from conftest import HERE, PATIENCE, REPOSITORY, Running, environ, leads_its_group, processes_of, read_recording, wait_for
from frame_model import Formula, FormulaModule, Simulation, bits, parse_value
from hosts import BLOCKS, PORTS_OF_A_NODE, Keys, hosts  # noqa: F401 (a fixture)
from plain_yaml import load
from second_implementation import CONTROL, DONE, HEADER, MAGIC, STEP, Coordinator, Link, Node, groups

PAGE = REPOSITORY / "docs/protocol.md"
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

def second_node(heard, root, make_module=None, **own):
    """A node of the second implementation."""
    port = next(BLOCKS)
    return Node(f"tcp://127.0.0.1:{port}", make_module or formula_maker(root), ports=range(port + 1, port + PORTS_OF_A_NODE),
                heard=heard, **own)


def key_pair(keys):
    """(public, secret) of keys in files."""
    return keys.public.encode(), keys.path.read_text().split()[0].encode()


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


PLACEMENT = {"relay": "rack", "mixer": "bench", "tail": "bench"}
"""`rack` is the second implementation, `bench` a real node; `source` is at the desk."""


def configuration(name, entries=None, mode="afap"):
    """`entries`: hosts with what `hosts:` says of them, in order; without, everything is at the desk."""
    def module(one):
        host = f", host: {PLACEMENT[one]}" if entries and one in PLACEMENT else ""
        rate = ", rate_hz: 50" if one == "relay" else ""
        return f"  {one}: {{ type: process, executable: ./formula, config: ./{one}.formula{rate}{host} }}\n"
    hosts = "".join(f"  {host}: {entry}\n" for host, entry in (entries or {}).items())
    return (f'version: "0.2"\nname: {name}\n' + (f"hosts:\n{hosts}" if hosts else "") + "modules:\n" + "".join(map(module, FORMULAS))
            + WIRING + f"execution: {{ mode: {mode}, rate_hz: 100, end_time: 2, schedule: [[source, tail], relay, mixer] }}\n")


def entry(node, key=None):
    return f"{{ endpoint: '{node.endpoint}'" + (f", key: '{key}'" if key else "") + " }"


@pytest.fixture
def furnished(desk, hosts):
    """Hosts whose module roots, and the desk's folder, have the modules."""
    def furnish(folder):
        shutil.copy2(desk.built(HERE / "modules" / "formula.c"), folder / "formula")
        for name, text in FORMULAS.items():
            (folder / f"{name}.formula").write_text(text)
    hosts.furnish = furnish
    furnish(desk.folder)
    return hosts


def digest_and_rows(desk, text, *options):
    done = desk.run(text, "--digest", *options).expect(0)
    return re.search(r"digest (\w+)", done.stdout)[1], desk.record.read_text()


@pytest.mark.parametrize("mirrors", ["auto", "tcp", "zeromq"])
@pytest.mark.parametrize("second_dials", [False, True], ids=["dialled", "dialling"])
@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
def test_a_second_node_gives_the_same_bits_as_a_real_one(desk, furnished, heard, with_keys, second_dials, mirrors):
    alone = digest_and_rows(desk, configuration(desk.name))
    keys, options, own = {}, ["--mirrors", mirrors], {}
    if with_keys:
        keys = {who: Keys(desk.folder, who) for who in ("coordinator", "bench", "rack")}
        options += ["--key", keys["coordinator"].path]
        own = {"keys": key_pair(keys["rack"]), "accepts": [key_pair(keys["coordinator"])[0]]}
    theirs = {"accept": keys["coordinator"].public_file} if with_keys else {}
    bench, real_rack = (furnished.add(host, keys=keys.get(who), **theirs).start() for host, who in (("bench", "bench"), ("other", "rack")))

    def text(rack):
        entries = {host: entry(node, keys[host].public if with_keys else None) for host, node in (("bench", bench), ("rack", rack))}
        # Of two hosts the later one dials the earlier one.
        return configuration(desk.name, entries if second_dials else dict(reversed(entries.items())))

    assert digest_and_rows(desk, text(real_rack), *options) == alone
    with second_node(heard, desk.folder, **own) as rack:
        for grant in ("1", "7", None):
            assert digest_and_rows(desk, text(rack), *options, *(["--grant", grant] if grant else [])) == alone
        wait_for(lambda: not any(run.is_alive() for run in rack.past), "all runs are over")
        assert set(rack.past[0].grants) == {1} and max(rack.past[1].grants) == 7
        assert all(run.link.dropped == 0 for run in rack.past)
        for run in rack.past:
            # Of the desk and the other host; sealed where keys are and the words leave for the network.
            sealed = [stream.is_sealed for stream in run.streams.streams.values()]
            assert sealed == ([] if mirrors == "zeromq" else [with_keys and mirrors == "tcp"] * 2)
            assert mirrors == "zeromq" or not any(run.link.mirrors)
    assert heard.names >= {"hello", "open", "setup", "launch", "prepare", "stage", "show", "terminate"}


def test_a_second_node_takes_writes_and_resets(desk, furnished, heard):
    bench = furnished.add("bench").start()
    with second_node(heard, desk.folder) as rack:
        text = configuration(desk.name, {"rack": entry(rack), "bench": entry(bench)}, mode="single_frame")
        model = Simulation(load(text), FORMULAS)
        rows = [[model.row(), model.step(), model.step()], []]
        with Running(desk, text) as sim:
            sim.ready()
            sim.command("step", "2")
            seen = sim.command("get", "relay.sum").stdout
            assert bits(parse_value(seen, "f32"), "f32") == bits(model.value("relay.sum"), "f32")
            sim.command("set", "relay.gain=-7", "source.wave=12.5")
            sim.command("step", "3")
            model.write({"relay.gain": "-7", "source.wave": "12.5"})
            rows[0] += [model.step() for _ in range(3)]
            sim.command("reset")
            rows[1].append(model.reset())
            sim.command("step", "4")
            rows[1] += [model.step() for _ in range(4)]
            sim.command("stop")
            done = sim.finish().expect(0)
        assert [epoch.columns for epoch in done.epochs] == [model.published] * 2
        for epoch, expected in zip(done.epochs, rows):
            assert epoch.frames == [row["frame"] for row in expected]
            for row, wanted in zip(epoch.rows, expected):
                for name in model.published:
                    kind = model.kind(name)
                    assert bits(parse_value(row[name], kind), kind) == bits(wanted[name], kind), (row["frame"], name)
    assert heard.names >= {"write", "sample", "reset"}


class Breaking(FormulaOnNode):
    def __init__(self, text, at):
        super().__init__(text)
        self.step = lambda dt, frame, time: 1 / (frame - at)


@pytest.mark.parametrize("grant", ["1", "3", "1024"])
def test_what_a_second_node_reports_is_what_the_user_reads(desk, furnished, heard, grant):
    bench = furnished.add("bench").start()

    def breaking(item):
        return Breaking((desk.folder / item["configuration"]).read_text(), at=5)

    with second_node(heard, desk.folder, breaking) as rack:
        text = configuration(desk.name, {"rack": entry(rack), "bench": entry(bench)})
        for _ in range(2):
            desk.run(text, "--grant", grant).expect(2, "module relay", "host rack", "frame 5", "division by zero")
            assert read_recording(desk.record)[0].frames == [0, 1, 2, 3, 4]
    assert len(rack.past) == 2 and all(module.has_terminated for run in rack.past for module in run.modules)


# ---- The example of section 9 -----------------------------------------------------------------------------------------

def test_the_shares_in_the_example_are_those_that_travel(desk, heard):
    shares = {}

    def listen(say, body):
        heard(say, body)
        if say == "prepare":
            shares[body["hosts"][body["host"]]] = body

    desk.write("icarus.formula", "signal position f64 output = 1\nsignal thrust f64 input = 0\nposition = position + thrust\n")
    desk.write("pilot.formula", "signal seen f64 input = 0\nsignal thrust f64 output = 1\nthrust = seen * 0.5\n")
    with second_node(listen, desk.folder) as rack, second_node(listen, desk.folder) as bench:
        text = (f'version: "0.2"\nname: {desk.name}\nhosts:\n  rack: {entry(rack)}\n  bench: {entry(bench)}\nmodules:\n'
                "  icarus: { type: process, executable: ./formula, config: icarus.formula, host: rack }\n"
                "  pilot: { type: process, executable: ./formula, config: pilot.formula, host: bench }\n"
                "wiring: [{ src: icarus.position, dst: pilot.seen }, { src: pilot.thrust, dst: icarus.thrust }]\n"
                "execution: { mode: afap, end_time: 0.1, schedule: [icarus, pilot] }\n")
        desk.run(text).expect(0)

    def moves(table):
        assert table["conversions"] == [] and table["runs"] == []
        return ", ".join(f"{source} to {destination}" for source, destination in groups(table["copies"], 2)) or "-"

    section = PAGE.read_text().split("The shares of the two:")[1].split("###")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    columns = [shares[host] for host in rows[0][1:]]
    assert rows[0][1:] == ["rack", "bench"]
    for name, *cells in rows[2:]:
        for cell, share in zip(cells, columns):
            if name == "slots":
                signals = [f"{slot} `{signal['name']}`" for slot, signal in enumerate(share["signals"])]
                assert cell == ", ".join([*signals, f"{len(signals)} inbox", f"{len(signals) + 1} outbox"])
                assert share["inboxCount"] == share["outboxCount"] == 1
            elif name.startswith(("`gathers`", "`deliveries`")):
                assert cell == "; ".join(map(moves, share[re.match(r"`(\w+)`", name)[1]])), name
            else:
                assert json.loads(cell.strip("`")) == share[name.strip("`")], name
    assert [row[0].split("`")[1] if "`" in row[0] else row[0] for row in rows[2:]] == [
        "phases", "slots", "gathers", "sends", "receives", "deliveries", "collected"]


# ---- A coordinator beside a real node ---------------------------------------------------------------------------------

ECHO = "signal seen f64 input = 5\nsignal gain f64 writable = 2\nsignal twice f64 output = 0\ntwice = seen * gain\n"
"""On the host: slot 0 seen, 1 gain, 2 twice; 3 the inbox, 4 the outbox."""


def share():
    def table(*copies):
        return {"runs": [], "copies": list(copies), "conversions": [], "factors": [], "isStaged": False}
    return {
        "host": 1, "simulation": "page", "rateHz": 100, "hosts": [None, "bench"],
        "modules": [{"name": "echo", "isInproc": False, "isFree": False, "phase": 0, "divisor": 1, "dt": 0.01, "firstSignal": 0,
                     "signalCount": 3}],
        "phases": [[0]],
        "signals": [{"name": f"echo.{name}", "module": 0, "type": 0, "bits": bits}
                    for name, bits in (("seen", 2 + 4 + 16), ("gain", 3), ("twice", 2 + 8))],
        "gathers": [table(2, 4), table(2, 4)], "deliveries": [table(3, 0), table(3, 0)],
        "inboxCount": 1, "outboxCount": 1, "collected": [0, 2], "longestStepSeconds": 5,
        "sends": [[0, 0, 0, 1], [0, 1, 0, 1]], "receives": [[0, 0, 0, 1], [0, 1, 0, 1]]}


def f64(*values):
    return struct.pack(f"<{len(values)}d", *values)


def mirror(lead, value, frame, phase=0, epoch=0):
    lead.mirror(value, frame, phase, epoch)


def launched(lead, **more):
    """A run whose module is there and whose share is prepared."""
    assert lead.set_up() == ("ok", {})
    item = {"name": "echo", "kind": "process", "program": "./formula", "arguments": [], "environment": [],
            "configuration": "echo.formula", "stepTimeoutSeconds": 5}
    say, announced = lead.ask("launch", {"modules": [item], **more})
    assert say == "announced", announced
    (module,) = announced["modules"]
    assert [(signal["name"], signal["direction"]) for signal in module["signals"]] == [("seen", 1), ("gain", 0), ("twice", 2)]
    assert lead.ask("prepare", share()) == ("ok", {})


def staged(lead, first=0.5):
    launched(lead)
    mirror(lead, first, frame=0, phase=1)
    lead.tell("stage", {"slots": [], "bits": []})
    header, row = lead.done()
    assert (header.frame, header.epoch, header.count, row) == (0, 0, 1, f64(first, 0))
    assert lead.mirrored(frame=0, phase=1) == 0
    lead.tell("show", {"isPaused": False})


def wish(**asked):
    return {"lock_memory": False, **asked}


def test_a_second_coordinator_asks_for_cpus_and_hears_what_came_of_it(desk, hosts, heard):
    cpus = sorted(os.sched_getaffinity(0))
    node = start_real(hosts)
    with Coordinator(node.endpoint, heard=heard, patience=PATIENCE) as coordinator:
        coordinator.hello()
        with coordinator.run(desk.name) as lead:
            launched(lead, realtime={"frames": wish(cpus=cpus[:1]), "modules": [wish(cpus=cpus[-1:], priority=3)]})
            mirror(lead, 0.5, frame=0, phase=1)
            lead.tell("stage", {"slots": [], "bits": []})
            say, applied = lead.answer()
            assert say == "applied"
            threads = {(thread.get("module"), thread["role"]): thread for thread in applied["threads"]}
            assert set(threads) == {(None, "frames"), (None, "messages"), ("echo", "steps")}
            assert {thread["host"] for thread in applied["threads"]} == {"bench"}
            assert threads[None, "frames"]["found"]["cpus"] == threads[None, "messages"]["found"]["cpus"] == cpus[:1]
            steps = threads["echo", "steps"]
            assert steps["asked"] == wish(cpus=cpus[-1:], priority=3) and steps["found"]["cpus"] == cpus[-1:]
            assert (steps["found"]["priority"] == 3) == (steps["refused"] == [])
            assert lead.done()[0].frame == 0
        for frames, modules in [(wish(priority=100), [wish()]), (wish(cpus=[]), [wish()]), (wish(), []), (wish(cpus=[8000]), [wish()])]:
            wait_for(lambda: coordinator.hello()[1]["running"] == [], "the run before is over")
            with coordinator.run(desk.name) as lead:
                assert lead.ask("setup", {"peers": []}) == ("ok", {})
                item = {"name": "echo", "kind": "process", "program": "./formula", "arguments": [], "environment": [],
                        "configuration": "echo.formula", "stepTimeoutSeconds": 5}
                say, failed = lead.ask("launch", {"modules": [item], "realtime": {"frames": frames, "modules": modules}})
                assert say == "failed" and ("CPU" in failed["cause"]), failed
    assert "applied" in heard.names


def test_a_node_that_knows_of_no_realtime_is_told_of(desk, furnished, heard):
    bench = furnished.add("bench").start()
    with second_node(heard, desk.folder) as rack:
        text = configuration(desk.name, {"rack": entry(rack), "bench": entry(bench)}, mode="realtime")
        text = text.replace("end_time: 2,", f"end_time: 0.1, realtime: {{ cpus: {{ node: [{min(os.sched_getaffinity(0))}] }} }},")
        done = desk.run(text).expect(0)
        assert "host rack: the frames' thread does not know of priorities and CPUs" in done.stderr
        assert "host bench:" not in done.stderr
    assert "launch" in heard.names


def start_real(hosts, **how):
    """A real node with the module; `endpoint` where it is not to listen on TCP."""
    endpoint, name = how.pop("endpoint", None), how.pop("name", "bench")
    node = hosts.add(name, **how)
    (node.root / "echo.formula").write_text(ECHO)
    node.endpoint = endpoint or node.endpoint
    return node.start()


@pytest.fixture
def real(hosts):
    return start_real(hosts)


def test_hello_and_what_a_node_refuses(desk, real, heard):
    with Coordinator(real.endpoint, heard=heard, patience=PATIENCE) as coordinator:
        say, welcome = coordinator.hello()
        assert say == "welcome" and welcome["running"] == []
        assert welcome["oldestProtocol"] <= 1 <= welcome["protocolVersion"]
        assert coordinator.ask("dance")[0] == "refused"
        for wrong in [{"simulation": "no way"}, {"host": ""}, {"participants": 1}, {"participants": 4097}, {"index": 0}, {"index": 2},
                      {"livenessSeconds": 0.05}, {"security": {"token": "short"}}, {"run": "text"}]:
            assert coordinator.ask("open", {**coordinator.open_body(desk.name), **wrong})[0] == "refused", wrong
        for rubbish in [b"", b"{", b"[]", b" {}", b"\xff" * 40, b'{"say": "hello"}']:
            coordinator.socket.send(rubbish)
        coordinator.socket.send_multipart([b"", b"{}"])
        coordinator.tell("dance")  # number 0: no answer
        coordinator.tell("end", {"run": 1})
        assert coordinator.until_unasked("gone") == {"run": 1}
        assert coordinator.hello()[0] == "welcome"


@pytest.mark.parametrize("way, mirrors", [
    ("tcp", "zeromq"), ("ipc", "zeromq"), ("curve", "zeromq"), ("tcp", "tcp"), ("curve", "tcp"), ("ipc", "auto"), ("curve", "auto")])
def test_a_second_coordinator_leads_a_real_node(desk, hosts, heard, way, mirrors):
    how, own = {}, {}
    if way == "curve":
        keys = {who: Keys(desk.folder, who) for who in ("coordinator", "bench")}
        how = {"keys": keys["bench"], "accept": keys["coordinator"].public_file}
        own = {"keys": key_pair(keys["coordinator"]), "node_key": key_pair(keys["bench"])[0]}
    if way == "ipc":
        how = {"endpoint": f"ipc://{desk.folder}/n"}
    node = start_real(hosts, **how)
    with Coordinator(node.endpoint, heard=heard, patience=PATIENCE, **own) as coordinator:
        coordinator.hello()
        with coordinator.run(desk.name, mirrors) as lead:
            assert coordinator.hello()[1]["running"] == [desk.name]
            assert coordinator.ask("open", coordinator.open_body(desk.name))[0] == "refused"
            staged(lead)

            # A grant of five frames, whose values are early, and some that are dropped.
            for frame in range(1, 6):
                mirror(lead, float(frame), frame)
            lead.step(1, count=5)
            header, rows = lead.done()
            assert (header.frame, header.epoch, header.count) == (5, 0, 5)
            seen, twice = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 4.0, 6.0, 8.0]
            assert rows == b"".join(f64(*row) for row in zip(seen, twice))
            assert [lead.mirrored(frame) for frame in range(1, 6)] == twice

            # Between frames; the write waits for the step.
            assert lead.ask("sample", {"slots": [2, 0], "bits": []}) == (
                "values", {"slots": [2, 0], "bits": [int.from_bytes(f64(8), "little"), int.from_bytes(f64(5), "little")]})
            lead.tell("write", {"slots": [1], "bits": [int.from_bytes(f64(10), "little")]})
            assert lead.ask("sample", {"slots": [1], "bits": []})[1]["bits"] == [int.from_bytes(f64(2), "little")]
            lead.step(6)
            mirror(lead, 6.0, 6)
            assert lead.done()[1] == f64(6, 50)
            assert lead.mirrored(6) == 50

            # A reset; what belongs to the epoch before is dropped, and so is what is no message of this run.
            mirror(lead, -1.0, 7)
            mirror(lead, 0.25, 0, phase=1, epoch=1)
            lead.tell("reset")
            header, row = lead.done()
            assert (header.frame, header.epoch, row) == (0, 1, f64(0.25, 0))
            assert lead.mirrored(0, phase=1, epoch=1) == 0
            lead.step(7, epoch=0)
            name = lead.link.names[1]
            good = HEADER.pack(MAGIC, STEP, 1, 0, lead.run, 1, 1, 1)
            for parts in [[good[:-1]], [b"X" + good[1:]], [HEADER.pack(MAGIC, 9, 1, 0, lead.run, 1, 1, 1)],
                          [HEADER.pack(MAGIC, STEP, 1, 0, lead.run ^ 1, 1, 1, 1)], [good, good], [b""]]:
                lead.link.socket.send_multipart([name, *parts])
            mirror(lead, 8.0, 1, epoch=1)
            lead.step(1, epoch=1)
            header, row = lead.done()
            assert (header.frame, header.epoch, row) == (1, 1, f64(8, 0.5))

            assert lead.ask("terminate", {"hurried": False}, urgent=True) == ("ok", {})
            assert coordinator.until_unasked("gone") == {"run": lead.run}
        assert coordinator.hello()[1]["running"] == []


@pytest.mark.parametrize("mirrors", ["auto", "tcp", "zeromq"])
@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
def test_a_second_coordinator_has_two_real_nodes_mirror_to_each_other(desk, hosts, heard, with_keys, mirrors):
    keys = {who: Keys(desk.folder, who) for who in ("coordinator", "bench", "rack")} if with_keys else {}
    names = ["bench", "rack"]
    nodes = [start_real(hosts, name=name, **({"keys": keys[name], "accept": keys["coordinator"].public_file} if with_keys else {}))
             for name in names]
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(Coordinator(
            node.endpoint, heard=heard, patience=PATIENCE,
            **({"keys": key_pair(keys["coordinator"]), "node_key": key_pair(keys[name])[0]} if with_keys else {})))
            for name, node in zip(names, nodes)]
        body = ends[0].open_body(desk.name, participants=3, **({} if mirrors == "zeromq" else {"wantsStreams": True}))
        pairs = [tuple(key.decode() for key in zmq.curve_keypair()) for _ in range(3)]

        def security(index):
            token = {"token": body["security"]["token"]}
            return {**token, "publicKey": pairs[index][0], "secretKey": pairs[index][1],
                    "participants": [pair[0] for pair in pairs]} if with_keys else token

        link = Link(body["run"], 0, 3, security(0), 2.0)
        stack.callback(link.close)
        places = []
        for index, (end, name) in enumerate(zip(ends, names), 1):
            say, opened = end.ask("open", {**body, "host": name, "index": index, "security": security(index)})
            assert say == "opened", opened
            places.append(opened)
            link.dial(index, f"tcp://127.0.0.1:{opened['port']}")
        assert link.prove([1, 2], [1, 2]) == []

        def hear(answer, owed):
            while owed:
                index, header, payload = link.word(time.monotonic() + PATIENCE, heeds_loss=False)
                message = json.loads(payload)
                heard(message["say"], message["body"])
                assert (header.kind, message["say"], message["id"]) == (CONTROL, answer, 7), message
                owed.remove(index)

        def ask_both(say, bodies, answer):
            for index, what in enumerate(bodies, 1):
                link.say(index, say, what, 7)
            hear(answer, {1, 2})

        # The later one dials the earlier one; each direction of a stream has a key.
        setups = [{"peers": [{"index": 2, "host": "rack"}]},
                  {"peers": [{"index": 1, "host": "bench", "endpoint": f"tcp://127.0.0.1:{places[0]['port']}"}]}]
        if mirrors != "zeromq":
            to_bench, to_rack = ({"key": secrets.token_hex(32)} if with_keys else {} for _ in range(2))
            place = places[0]["streams"]
            assert place["machine"] == places[1]["streams"]["machine"]
            road = {"path": place["path"]} if mirrors == "auto" else {"endpoint": f"tcp://127.0.0.1:{place['port']}"}
            both = [{"index": 2}, {"index": 1, **road}]
            if with_keys:
                both[0].update(sendKey=to_rack["key"], receiveKey=to_bench["key"])
                both[1].update(sendKey=to_bench["key"], receiveKey=to_rack["key"])
            for setup, stream in zip(setups, both):
                setup["streams"] = [stream]
        ask_both("setup", setups, "ok")
        item = {"name": "echo", "kind": "process", "program": "./formula", "arguments": [], "environment": [],
                "configuration": "echo.formula", "stepTimeoutSeconds": 5}
        ask_both("launch", [{"modules": [item]}] * 2, "announced")
        peers = [2, 1]
        ask_both("prepare", [{**share(), "host": host, "hosts": [None, *names], "sends": [[peer, 0, 0, 1], [peer, 1, 0, 1]],
                              "receives": [[peer, 0, 0, 1], [peer, 1, 0, 1]]} for host, peer in enumerate(peers, 1)], "ok")
        link.say(1, "stage", {"slots": [2], "bits": [int.from_bytes(f64(3), "little")]})
        link.say(2, "stage", {"slots": [], "bits": []})

        def rows():
            found = {}
            while len(found) < 2:
                index, header, payload = link.word(time.monotonic() + PATIENCE)
                assert header.kind == DONE, payload
                found[index] = payload
            return found

        assert rows() == {1: f64(0, 3), 2: f64(3, 0)}
        for index in (1, 2):
            link.send(index, STEP, frame=1, count=3)
        # Each has the other's value of the same frame once its own has stepped.
        assert rows() == {1: f64(6, 0, 0, 12, 24, 0), 2: f64(0, 6, 12, 0, 0, 24)}
        # The second hears that the first is gone, and the word that ends the run, at once: no loss, and no hurry.
        late = nodes[1].worker()
        os.kill(late, signal.SIGSTOP)
        try:
            link.say(1, "terminate", {"hurried": False}, 7, urgent=True)
            hear("ok", {1})
            assert ends[0].until_unasked("gone") == {"run": body["run"]}
            link.say(2, "terminate", {"hurried": False}, 7, urgent=True)
        finally:
            os.kill(late, signal.SIGCONT)
        hear("ok", {2})
        assert ends[1].until_unasked("gone") == {"run": body["run"]}


def test_what_ends_a_run(desk, real, heard):
    with Coordinator(real.endpoint, heard=heard, patience=PATIENCE) as coordinator:
        # Values that are not the ones due.
        with coordinator.run(desk.name) as lead:
            staged(lead)
            mirror(lead, 1.0, 2)
            lead.step(1)
            said = failure(lead)
            assert said["code"] == "protocol" and said["frame"] == 1
            assert coordinator.until_unasked("gone")["run"] == lead.run
        # A message that the node does not know.
        with coordinator.run(desk.name) as lead:
            launched(lead)
            assert lead.ask("dance")[1]["code"] == "protocol"
            assert coordinator.until_unasked("gone")["run"] == lead.run
        # A share that does not fit together.
        with coordinator.run(desk.name) as lead:
            assert lead.ask("setup", {"peers": []})[0] == "ok"
            assert lead.ask("launch", {"modules": []})[0] == "announced"
            assert lead.ask("prepare", {**share(), "receives": [[0, 0, 1, 1], []]})[1]["code"] == "protocol"
            assert coordinator.until_unasked("gone")["run"] == lead.run
        # The node is told while the run waits for values.
        with coordinator.run(desk.name) as lead:
            staged(lead)
            lead.step(1)
            assert lead.mirrored(1) == 1
            coordinator.tell("end", {"run": lead.run, "cause": "enough"})
            assert "enough" in failure(lead)["cause"]
            assert coordinator.until_unasked("gone")["run"] == lead.run
        # An urgent word while it waits for values.
        with coordinator.run(desk.name) as lead:
            staged(lead)
            lead.step(1)
            assert lead.mirrored(1) == 1
            lead.link.say(1, "terminate", {"hurried": True}, 77, urgent=True)
            assert failure(lead)["code"] == "refused"
            assert coordinator.until_unasked("gone")["run"] == lead.run
        # A coordinator that goes without a word.
        with coordinator.run(desk.name) as lead:
            staged(lead)
        assert coordinator.until_unasked("gone")["run"] == lead.run
        # A module that dies.
        with coordinator.run(desk.name) as lead:
            staged(lead)
            (module,) = wait_for(lambda: [pid for pid in processes_of(desk.name) if leads_its_group(pid)
                                          and environ(pid).get("HERMES_MODULE") == "echo"], "the module's process")
            os.kill(module, 9)
            said = failure(lead)
            assert (said["code"], said["module"], said["host"]) == ("signal", "echo", "bench")
            assert coordinator.until_unasked("gone")["run"] == lead.run


def failure(lead):
    """The body of `failed`, which may come behind a done."""
    while True:
        _, header, payload = lead.link.word(time.monotonic() + PATIENCE)
        if header.kind == CONTROL:
            assert header.phase == 1, "it is not urgent"
            message = json.loads(payload)
            lead.heard(message["say"], message["body"])
            assert (message["say"], message["id"]) == ("failed", 0)
            return message["body"]


def test_nobody_else_gets_on_a_link(desk, real, heard):
    with Coordinator(real.endpoint, heard=heard, patience=PATIENCE) as coordinator:
        body = coordinator.open_body(desk.name)
        _, opened = coordinator.ask("open", body)
        endpoint = f"tcp://127.0.0.1:{opened['port']}"
        stranger = Link(body["run"], 0, 2, {"token": "x" * 24}, 2.0)
        stranger.names = [b"h\0\0" + body["security"]["token"].encode(), b"h\1\0" + body["security"]["token"].encode()]
        stranger.dial(1, endpoint)
        stranger.send(1, 4)
        assert "refused" in coordinator.until_unasked("line")["text"]
        assert stranger.proved == {}
        stranger.close()
        own = Link(body["run"], 0, 2, body["security"], 2.0)
        own.dial(1, endpoint)
        assert own.prove([1], [1]) == []
        own.close()
        assert coordinator.until_unasked("gone")["run"] == body["run"]


# ---- The page and the sources ---------------------------------------------------------------------------------------

BETWEEN_NODE_AND_WORKER = {"keeper", "work", "ending"}
"""Said on one host only, between hermes-node and the process of a run."""


def test_the_page_has_every_message_of_the_sources():
    call = re.compile(r'\b(?:say|ask|askAll|tell|reply|ControlMessage)\(\s*(?:[\w!.$]+,\s*)?"(\w+)"|\bsay: String = "(\w+)"')
    files = (REPOSITORY / "Sources").rglob("*.swift")
    said = {name for file in files for found in call.findall(file.read_text()) for name in found if name}
    assert said - BETWEEN_NODE_AND_WORKER == set(messages_of_the_page())


def test_the_listener_can_complain():
    """A test that holds the page to what travels must be able to fail."""
    listener = Listener()
    listener("ok", {"more": 1})
    listener("refused", {})
    listener("gone", {"run": "1"})
    listener("dance", {})
    listener("prepare", {**share(), "signals": [{"name": "a.b"}]})
    assert len(listener.complaints) == 7, listener.complaints
