"""The model against what was worked out by hand, and against the C module it mirrors. Needs no Hermes."""
import math
import random
import struct
import subprocess

import pytest
from doc_examples import examples
from frame_model import Formula, FormulaModule, Simulation, bits, convert, from_f64, parse_value, round_to_f32
from random_simulations import random_formula


def play(simulation, commands):
    """Runs an example's commands on the model; rows of each epoch."""
    epochs = [simulation.run() if "&" not in commands[0] else [simulation.row()]]
    for _, verb, *words in commands[1:]:
        if verb == "step":
            epochs[-1] += [simulation.step() for _ in range(int(words[1]))]
        elif verb == "set":
            simulation.write(dict(word.split("=", 1) for word in words[1:]))
        elif verb == "reset":
            epochs.append([simulation.reset()])
        else:
            assert verb == "stop"
    return epochs


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_tables_worked_by_hand(example):
    simulation = Simulation(example.config, example.formulas, example.sets)
    epochs = play(simulation, example.commands)
    assert len(epochs) == len(example.epochs)
    for table, rows in zip(example.epochs, epochs):
        assert len(table) == len(rows)
        assert set(table[0]) == {"frame", "time", *simulation.published}
        for written, row in zip(table, rows):
            assert int(written["frame"]) == row["frame"]
            assert float(written["time"]) == row["time"]
            for name in simulation.published:
                kind = simulation.kind(name)
                assert bits(parse_value(written[name], kind), kind) == bits(row[name], kind), (row["frame"], name)


def test_page_has_every_section_worked():
    assert len(examples()) >= 9


@pytest.mark.parametrize("x, expected", [
    (0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (2147483646.5, 2147483646), (2147483647.5, 2147483647),
    (-2147483648.5, -2147483648), (1e300, 2147483647), (math.inf, 2147483647), (-math.inf, -2147483648), (math.nan, 0)])
def test_integers_round_half_to_even_and_saturate(x, expected):
    assert from_f64(x, "i32") == expected


def test_i64_saturates_at_its_limits():
    assert from_f64(9223372036854775807.0, "i64") == 2**63 - 1
    assert from_f64(9223372036854774784.0, "i64") == 9223372036854774784
    assert from_f64(-9223372036854775808.0, "i64") == -(2**63)


def test_f32_rounds_once_and_overflows_to_infinity():
    assert from_f64(0.1, "f32") == struct.unpack("<f", struct.pack("<f", 0.1))[0] != 0.1
    assert from_f64(3.5e38, "f32") == math.inf and from_f64(-3.5e38, "f32") == -math.inf
    assert from_f64(1e-50, "f32") == 0.0


def test_f32_text_is_rounded_once():
    tie = "3.4028235677973366e38"  # a hair under what rounds to infinity; as a double it is the tie itself
    assert parse_value(tie, "f32") == 3.4028234663852886e38 and from_f64(float(tie), "f32") == math.inf
    assert parse_value("-" + tie, "f32") == -3.4028234663852886e38
    assert parse_value("1.00000005960464477540", "f32") == 1.0000001192092896 != from_f64(1.00000005960464477540, "f32")
    for text in ("0", "-0", "5e-324", "1e-45", "nan", "-inf", "0.1", "1e39", "16777217"):
        assert bits(parse_value(text, "f32"), "f32") == bits(round_to_f32(float(text)), "f32"), text


def test_copies_keep_what_conversion_would_lose():
    assert convert(2**53 + 1, "i64", "i64") == 2**53 + 1
    assert convert(2**53 + 1, "i64", "i64", gain=1.0, offset=1.0) == 2**53  # as f64 2^53, and plus 1 is a tie to even
    assert math.copysign(1, convert(-0.0, "f64", "f64")) == -1
    assert math.copysign(1, convert(-0.0, "f32", "f64")) == 1


# ---- formula.c --------------------------------------------------------------------------------------------------

def model_lines(text, frames, rate):
    formula = Formula.parse(text)
    slots = {name: 0 for name in formula.signals}
    module = FormulaModule(formula, slots, wired=set())
    module.stage()
    lines = []
    for frame in range(frames + 1):
        if frame:
            module.step(1 / rate, frame, frame / rate)
        lines.append([bits(module.read(name, signal.kind), signal.kind) for name, signal in formula.signals.items()])
    return lines


def solo_lines(solo_host, path, *args):
    done = subprocess.run([solo_host, path, *map(str, args)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return [line.split()[1:] for line in done.stdout.splitlines()]


def canonical(word, kind):
    raw = int(word, 16).to_bytes(8, "little")
    if kind == "f64" and math.isnan(struct.unpack("<d", raw)[0]) or kind == "f32" and math.isnan(struct.unpack("<f", raw[:4])[0]):
        return "nan"
    return raw.hex()


@pytest.mark.parametrize("access", ["storage", "names", "handles"])
def test_formula_module_equals_model(access, solo_host, tmp_path):
    for seed in range(60):
        text = random_formula(random.Random(seed), access, "m").text
        path = tmp_path / f"{seed}.formula"
        path.write_text(text)
        kinds = [signal.kind for signal in Formula.parse(text).signals.values()]
        expected = model_lines(text, 40, 50.0)
        plain = solo_lines(solo_host, path, 40, 50)
        assert [[canonical(w, k) for w, k in zip(line, kinds)] for line in plain] == expected, f"seed {seed}\n{text}"
        with_load = solo_lines(solo_host, path, 40, 50, 17)
        assert with_load == plain, f"seed {seed}: save and load lose something\n{text}"
