"""Random simulations on one to five hosts against the model of one host: placement changes nothing.

HERMES_PLACEMENT_CASES  how many (default 60)
HERMES_PROPERTY_SEED    the first seed (default 1); a failure names its own
"""
import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import plain_yaml
import pytest
from cases import act, assignments, compare, expected_epochs, explain, set_arguments
from conftest import LIBRARY, REPOSITORY, SESSION, Running, summary
from frame_model import Simulation, bits, parse_value
from hosts import NODE, Keys, Node
from random_simulations import random_simulation

CASES = int(os.environ.get("HERMES_PLACEMENT_CASES", 60))
FIRST = int(os.environ.get("HERMES_PROPERTY_SEED", 1))


class LocalNode(Node):
    """Reached through a socket file instead of a port."""

    def __init__(self, desk, name):
        super().__init__(desk, name)
        self.endpoint = f"ipc://{desk.folder}/{name}.sock"

    def words(self, *extra):
        return [str(NODE), "--listen", self.endpoint, "--modules", str(self.root), *extra]


class Nodes(dict):
    """By host: over TCP, over TCP with keys, and over socket files. They stay for all the tests here, so that each run
    finds what those before it left."""

    def __init__(self, folder):
        where = SimpleNamespace(folder=folder, name=f"{SESSION}-nodes", environment=dict(os.environ))
        self.desk_keys = Keys(folder, "desk")
        for host in ("red", "green"):
            self[host] = Node(where, host)
        for host in ("blue", "grey"):
            self[host] = Node(where, host, keys=Keys(folder, host), accept=self.desk_keys.public_file)
        self["pink"] = LocalNode(where, "pink")

    def entry(self, host):
        """What stands in `hosts:`."""
        keys = self[host].keys
        return {"endpoint": self[host].endpoint, **({"key": keys.public} if keys else {})}

    def arguments(self, hosts):
        return ["--key", self.desk_keys.path] if any(self[host].keys for host in hosts) else []


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    try:
        for node in nodes.values():
            node.start("--allow-inproc")
        yield nodes
        for node in nodes.values():
            assert node.end() == 0, node.said
    finally:
        for node in nodes.values():
            if node.process and node.process.poll() is None:
                node.kill()


def place(rng, config, nodes):
    """The configuration with its modules on one to five hosts, the desk among them or not."""
    placed = copy.deepcopy(config)
    count = rng.randint(1, 5)
    hosts = rng.sample(list(nodes), min(count, len(nodes)))
    places = [*hosts[1:], None] if rng.random() < 0.7 else hosts
    # Every place gets a module where there are enough.
    chosen = (rng.sample(places, len(places)) + rng.choices(places, k=len(config["modules"])))[:len(config["modules"])]
    rng.shuffle(chosen)
    for settings, host in zip(placed["modules"].values(), chosen):
        if host:
            settings["host"] = host
            for key in ("executable", "config"):
                settings[key] = f"./{config['name']}/{Path(settings[key]).name}"
    order = [host for host in nodes if host in hosts or rng.random() < 0.1]
    rng.shuffle(order)
    return {"version": placed.pop("version"), "name": placed.pop("name"),
            "hosts": {host: nodes.entry(host) for host in order}, **placed}


def lay_out(desk, placed, case, nodes):
    """Every module's files where its host looks for them."""
    for module, settings in placed["modules"].items():
        folder = nodes[settings["host"]].root / desk.name if "host" in settings else desk.folder
        folder.mkdir(exist_ok=True)
        desk.module("formula", settings["type"] == "inproc", to=folder / Path(settings["executable"]).name)
        (folder / Path(settings["config"]).name).write_text(case.formulas[module])


def write_there(simulation, host, values):
    """Sets signals through the segment of a host, as a script there does: {"m.s": number}, all in one call."""
    script = "import sys\nfrom hermes.scripting import SimulationAPI\nnan, inf = float('nan'), float('inf')\n" \
             "with SimulationAPI(sys.argv[1]) as sim: sim.inject(eval(sys.argv[2]))\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, f"/hermes_{simulation}.{host}" if host else f"/hermes_{simulation}", repr(values)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "Sources/Python"), "HERMES_LIBRARY": str(LIBRARY / "libhermes.so")},
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def write_beside(desk, case, placed, texts):
    """Through the segments of the hosts where the signals live, as scripts there do; one call on each."""
    simulation = Simulation(case.config, case.formulas)
    by_host = {}
    for name, text in texts.items():
        kind = simulation.kind(name)
        value = parse_value(text, kind)
        by_host.setdefault(placed["modules"][name.split(".")[0]].get("host"), {})[name] = bool(value) if kind == "bool" else value
    for host, values in by_host.items():
        write_there(desk.name, host, values)


def every_value(sim, case):
    """What `hermes get` says of every signal, those that no recording shows included, against the model."""
    simulation, _ = expected_epochs(case)
    names = [f"{module}.{name}" for module, name in simulation.signals]
    got = json.loads(sim.command("get", *names, "--format", "json").stdout, parse_int=str, parse_float=str)
    assert int(got["frame"]) == simulation.frame
    for name in names:
        kind, value = simulation.kind(name), got["values"][name]
        assert bits(parse_value(int(value) if kind == "bool" else value, kind), kind) == bits(simulation.value(name), kind), name


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CASES))
def test_any_placement_gives_the_same_bits(seed, desk, nodes):
    case = random_simulation(seed, desk.name)
    rng = random.Random(f"placement {seed}")
    placed = place(rng, case.config, nodes)

    def told(sentence):
        logs = "".join(f"--- node {host}\n" + "\n".join(node.said.splitlines()[-10:]) + "\n" for host, node in nodes.items())
        return explain(seed, case, sentence, placed).replace("PROPERTY_CASES", "PLACEMENT_CASES") + "\n" + logs

    lay_out(desk, placed, case, nodes)
    config = desk.write("placed.yaml", plain_yaml.dump(placed))
    arguments = [*set_arguments(case), *nodes.arguments(placed["hosts"]), "--digest", "--summary", "-"]
    if case.actions:
        with Running(desk, config, *arguments) as sim:
            ways = [lambda texts: write_beside(desk, case, placed, texts), lambda texts: sim.command("set", *assignments(texts))]
            done = act(sim, case.actions, lambda texts: rng.choice(ways)(texts), lambda: every_value(sim, case))
    else:
        done = desk.run(config, *arguments)
    compare(done, case, told)
    if not case.actions:
        desk.formulas(case.config, case.formulas)
        alone = desk.command("run", desk.write("alone.yaml", plain_yaml.dump(case.config)), *arguments)
        assert alone.code == 0, told(f"on one host: exit {alone.code}\n{alone.said}")
        assert summary(done)["digest"] == summary(alone)["digest"], told("another digest than on one host")


COUNTING = "signal p i64 input = 0\nsignal count i64 output = 0\ncount = count + 1\n"


def counting(desk, nodes):
    """A module on each host and one at the desk, that count frames and have a value for users to set; a wire to each from
    the one before it, so that no host runs ahead."""
    places = {"m0": None, **{f"m{index}": host for index, host in enumerate(nodes, 1)}}
    config = {"version": "0.2", "name": desk.name, "hosts": {host: nodes.entry(host) for host in nodes}, "modules": {}}
    case = SimpleNamespace(formulas={})
    for module, host in places.items():
        folder = f"./{desk.name}" if host else "."
        config["modules"][module] = {"type": "process", "executable": f"{folder}/formula", "config": f"{folder}/{module}.formula",
                                     **({"host": host} if host else {})}
        case.formulas[module] = COUNTING + "signal seen i64 input = 0\n"
    names = list(places)
    config["wiring"] = [{"src": f"{one}.count", "dst": f"{other}.seen"} for one, other in zip(names, names[1:] + names[:1])]
    config["execution"] = {"mode": "afap", "rate_hz": 1000}
    lay_out(desk, config, case, nodes)
    return desk.write("placed.yaml", plain_yaml.dump(config)), names


def test_what_is_set_together_arrives_together(desk, nodes):
    """On all hosts at one frame, while they run by grants of many frames; the values of each call stay until the next."""
    config, modules = counting(desk, nodes)
    with Running(desk, config, *nodes.arguments(nodes)) as sim:
        sim.ready()
        for value in range(1, 11):
            sim.command("set", *(f"{module}.p={value}" for module in modules))
            sim.until(lambda: sim.command("get", f"{modules[-1]}.p").stdout.strip() == str(value), f"{value} is set")
        sim.command("stop")
        done = sim.finish()
    (recording,) = done.epochs
    seen = [tuple(row[f"{module}.p"] for module in modules) for row in recording.rows]
    assert all(len(set(values)) == 1 for values in seen)
    changes = [values[0] for number, values in enumerate(seen) if number == 0 or values != seen[number - 1]]
    assert changes == [str(value) for value in range(11)]


def test_what_is_read_together_is_of_one_frame(desk, nodes):
    config, modules = counting(desk, nodes)
    with Running(desk, config, *nodes.arguments(nodes), record=False) as sim:
        sim.ready()
        frames = []
        for _ in range(15):
            got = json.loads(sim.command("get", *(f"{module}.count" for module in modules), "--format", "json").stdout)
            assert set(got["values"].values()) == {got["frame"]}
            frames.append(got["frame"])
        assert frames == sorted(frames) and frames[0] < frames[-1]
        sim.command("stop")


def test_nodes_rest_after_all_that(nodes):
    """After all these runs no node has a process of theirs, nor went down."""
    for node in nodes.values():
        node.rests()
        assert node.process.poll() is None, node.said
