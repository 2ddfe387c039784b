"""What every run of a random simulation is held to: its rows against the model's, bit for bit."""
import plain_yaml
import pytest
from frame_model import Simulation, bits, parse_value


def set_arguments(case):
    return [word for name, text in case.sets.items() for word in ("--set", f"{name}={text}")]


def expected_epochs(case):
    """The model, and its rows by epoch."""
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


def act(sim, actions, write, before_the_end=lambda: None):
    """Has a paused simulation do what a case says, then stops it. `write(values)` sets signals from outside."""
    sim.ready()
    for verb, *what in actions:
        if verb == "step":
            sim.command("step", what[0])
        elif verb == "set":
            write(what[0])
        else:
            sim.command("reset")
    before_the_end()
    sim.command("stop")
    return sim.finish()


def assignments(values):
    return [f"{name}={text}" for name, text in values.items()]


def explain(seed, case, sentence, config=None):
    lines = [f"seed {seed}: {sentence}", f"again: HERMES_PROPERTY_SEED={seed} HERMES_PROPERTY_CASES=1", plain_yaml.dump(config or case.config)]
    lines += [f"--- {module}.formula\n{text}" for module, text in case.formulas.items()]
    lines += [f"sets {case.sets}", f"actions {case.actions}"]
    return "\n".join(lines)


def compare(done, case, explain):
    """Holds a recording to the model. `explain(sentence)` makes a failure's text."""
    simulation, expected = expected_epochs(case)
    assert done.code == 0, explain(f"exit {done.code}\n{done.said}")
    epochs = done.epochs
    assert len(epochs) == len(expected), explain(f"{len(epochs)} epochs recorded, {len(expected)} made")
    for number, (recording, rows) in enumerate(zip(epochs, expected)):
        assert recording.columns == simulation.published, explain(f"columns {recording.columns}")
        assert recording.frames == [row["frame"] for row in rows], explain(f"epoch {number}: frames {recording.frames}")
        for got, row in zip(recording.rows, rows):
            assert float(got["time"]) == row["time"]
            for name in simulation.published:
                kind = simulation.kind(name)
                if bits(parse_value(got[name], kind), kind) != bits(row[name], kind):
                    pytest.fail(explain(f"epoch {number}, frame {row['frame']}: {name} ({kind}) is {got[name]}, "
                                        f"the model says {row[name]!r}"), pytrace=False)
