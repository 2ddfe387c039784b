"""Every example of docs/frames.md, run as the page says and compared with the page's own tables."""
import pytest
from conftest import Running
from doc_examples import examples
from frame_model import Simulation, bits, parse_value


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example(example, desk):
    for path, text in example.files.items():
        desk.write(path, text)
    desk.module("formula")
    first, rest = example.commands[0], example.commands[1:]
    assert first[:2] == ["hermes", "run"]
    arguments = [word for word in first[2:] if word != "&"] + ["--name", desk.name]
    arguments[0] = desk.folder / arguments[0]
    if first[-1] == "&":
        with Running(desk, arguments[0], *arguments[1:], record=False) as sim:
            sim.ready()
            for _, verb, _, *words in rest:
                sim.command(verb, *words)
            done = sim.finish()
    else:
        assert not rest
        done = desk.command("run", *arguments)
    done.expect(0)

    kinds = Simulation(example.config, example.formulas)
    epochs = done.epochs
    assert len(epochs) == len(example.epochs)
    for table, recording in zip(example.epochs, epochs):
        assert recording.columns == kinds.published
        assert recording.frames == [int(row["frame"]) for row in table]
        for written, row in zip(table, recording.rows):
            assert float(row["time"]) == float(written["time"])
            for name in recording.columns:
                kind = kinds.kind(name)
                assert bits(parse_value(row[name], kind), kind) == bits(parse_value(written[name], kind), kind), \
                    f"frame {row['frame']}: {name} is {row[name]}, the page says {written[name]}"
