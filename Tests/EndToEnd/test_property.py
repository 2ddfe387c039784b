"""Random simulations against the model, bit for bit through their recordings.

HERMES_PROPERTY_CASES   how many (default 30)
HERMES_PROPERTY_SEED    the first seed (default 1); a failure names its own
"""
import copy
import os
import random

import plain_yaml
import pytest
from conftest import Running, summary
from frame_model import Simulation, bits, parse_value
from random_simulations import random_simulation

CASES = int(os.environ.get("HERMES_PROPERTY_CASES", 30))
FIRST = int(os.environ.get("HERMES_PROPERTY_SEED", 1))
SEEDS = range(FIRST, FIRST + CASES)


def set_arguments(case):
    return [word for name, text in case.sets.items() for word in ("--set", f"{name}={text}")]


def expected_epochs(case):
    simulation = Simulation(case.config, case.formulas, case.sets)
    if not case.actions:
        return simulation, [simulation.run()]
    epochs = [[simulation.row()]]
    for verb, *what in case.actions:
        if verb == "step":
            epochs[-1] += [simulation.step() for _ in range(what[0])]
        elif verb == "set":
            simulation.write(what[0])
        else:
            epochs.append([simulation.reset()])
    return simulation, epochs


def run_case(desk, case):
    desk.formulas(case.config, case.formulas)
    config = desk.config(plain_yaml.dump(case.config))
    if not case.actions:
        return desk.run(config, *set_arguments(case))
    with Running(desk, config, *set_arguments(case)) as sim:
        sim.ready()
        for verb, *what in case.actions:
            if verb == "step":
                sim.command("step", what[0])
            elif verb == "set":
                sim.command("set", *(f"{name}={text}" for name, text in what[0].items()))
            else:
                sim.command("reset")
        sim.command("stop")
        return sim.finish()


def explain(seed, case, sentence):
    lines = [f"seed {seed}: {sentence}", f"again: HERMES_PROPERTY_SEED={seed} HERMES_PROPERTY_CASES=1", plain_yaml.dump(case.config)]
    lines += [f"--- {module}.formula\n{text}" for module, text in case.formulas.items()]
    lines += [f"sets {case.sets}", f"actions {case.actions}"]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_recording_equals_model(seed, desk):
    case = random_simulation(seed, desk.name)
    simulation, expected = expected_epochs(case)
    done = run_case(desk, case)
    assert done.code == 0, explain(seed, case, f"exit {done.code}\n{done.said}")
    epochs = done.epochs
    assert len(epochs) == len(expected), explain(seed, case, f"{len(epochs)} epochs recorded, {len(expected)} made")
    for number, (recording, rows) in enumerate(zip(epochs, expected)):
        assert recording.columns == simulation.published, explain(seed, case, f"columns {recording.columns}")
        assert recording.frames == [row["frame"] for row in rows], explain(seed, case, f"epoch {number}: frames {recording.frames}")
        for got, row in zip(recording.rows, rows):
            assert float(got["time"]) == row["time"]
            for name in simulation.published:
                kind = simulation.kind(name)
                if bits(parse_value(got[name], kind), kind) != bits(row[name], kind):
                    pytest.fail(explain(seed, case, f"epoch {number}, frame {row['frame']}: {name} ({kind}) is {got[name]}, "
                                                    f"the model says {row[name]!r}"), pytrace=False)


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
