"""Random simulations on one to five hosts against the model of one host: placement changes nothing.

HERMES_PLACEMENT_CASES  how many (default 30)
HERMES_PROPERTY_SEED    the first seed (default 1); a failure names its own
"""
import copy
import json
import os
import random
from pathlib import Path

import plain_yaml
import pytest
from cases import act, assignments, compare, expected_epochs, explain, set_arguments
from conftest import Running, summary
from frame_model import Simulation, bits, parse_value
from loopback_nodes import Node, write_there
from random_simulations import random_simulation

CASES = int(os.environ.get("HERMES_PLACEMENT_CASES", 30))
FIRST = int(os.environ.get("HERMES_PROPERTY_SEED", 1))
TRANSPORTS = {"red": "tcp", "green": "tcp", "blue": "ipc", "grey": "tcp", "pink": "ipc"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """By host; they stay for all the tests here, so that each finds what the runs before it left."""
    running = {}
    try:
        for host, transport in TRANSPORTS.items():
            running[host] = Node(host, tmp_path_factory.mktemp(host), transport, "--allow-inproc")
        yield running
    finally:
        for node in running.values():
            node.stop()


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
            "hosts": {host: {"endpoint": nodes[host].endpoint} for host in order}, **placed}


def lay_out(desk, placed, case, nodes):
    """Every module's files where its host looks for them."""
    for module, settings in placed["modules"].items():
        folder = nodes[settings["host"]].root / desk.name if "host" in settings else desk.folder
        folder.mkdir(exist_ok=True)
        desk.module("formula", settings["type"] == "inproc", to=folder / Path(settings["executable"]).name)
        (folder / Path(settings["config"]).name).write_text(case.formulas[module])


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
    arguments = [*set_arguments(case), "--digest", "--summary", "-"]
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


def test_nodes_are_left_as_they_were(nodes, hermes):
    """After all these runs no node holds on to anything: no process beside itself, no more open files than another."""
    for host, node in nodes.items():
        assert node.process.poll() is None, node.said
        children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
        assert not children, f"{host}: {children}"
