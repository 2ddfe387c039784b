"""Random simulations against the model, bit for bit through their recordings.

HERMES_PROPERTY_CASES   how many (default 30)
HERMES_PROPERTY_SEED    the first seed (default 1); a failure names its own
"""
import copy
import os
import random

import plain_yaml
import pytest
from cases import act, assignments, compare, explain, set_arguments
from conftest import Running, summary
from random_simulations import random_simulation

CASES = int(os.environ.get("HERMES_PROPERTY_CASES", 30))
FIRST = int(os.environ.get("HERMES_PROPERTY_SEED", 1))
SEEDS = range(FIRST, FIRST + CASES)


def run_case(desk, case):
    desk.formulas(case.config, case.formulas)
    config = desk.config(plain_yaml.dump(case.config))
    if not case.actions:
        return desk.run(config, *set_arguments(case))
    with Running(desk, config, *set_arguments(case)) as sim:
        return act(sim, case.actions, lambda values: sim.command("set", *assignments(values)))


@pytest.mark.parametrize("seed", SEEDS)
def test_recording_equals_model(seed, desk):
    case = random_simulation(seed, desk.name)
    compare(run_case(desk, case), case, lambda sentence: explain(seed, case, sentence))


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if not random_simulation(seed, "any").actions][:max(3, CASES // 5)])
def test_digest_depends_on_values_alone(seed, desk):
    """The same digest again, and with the modules in another order in the file; another one when a value differs."""
    case = random_simulation(seed, desk.name)
    desk.formulas(case.config, case.formulas)

    def digest(config, label, *more):
        path = desk.write(f"{label}.yaml", plain_yaml.dump(config))
        done = desk.command("run", path, "--digest", "--summary", "-", *set_arguments(case), *more)
        assert done.code == 0, explain(seed, case, f"{label}: exit {done.code}\n{done.said}")
        value = summary(done)["digest"]
        assert value
        return value

    permuted = copy.deepcopy(case.config)
    order = list(permuted["modules"].items())
    random.Random(seed).shuffle(order)
    if order == list(case.config["modules"].items()):
        order.reverse()
    permuted["modules"] = dict(order)
    first = digest(case.config, "first")
    assert digest(case.config, "again") == first, explain(seed, case, "two runs differ")
    assert digest(permuted, "permuted") == first, explain(seed, case, "the order of modules in the file shows")
    assert digest(case.config, "longer", "--frames", case.frames + 1) != first, explain(seed, case, "a frame more doesn't show")


def test_digest_tells_values_apart(desk):
    desk.module("formula")
    digests = set()
    for number in (1, 2, "2.0000000000000004"):
        desk.write("m.formula", f"signal x f64 output = {number}\n")
        done = desk.command("run", desk.config(
            f"version: '0.2'\nname: {desk.name}\nmodules: {{ m: {{ type: process, executable: ./formula, config: ./m.formula }} }}\n"
            "execution: { mode: afap, rate_hz: 10, end_time: 1 }\n"), "--digest", "--summary", "-").expect(0)
        digests.add(summary(done)["digest"])
    assert len(digests) == 3
