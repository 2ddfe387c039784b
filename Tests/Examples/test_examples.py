"""Each example does what its folder says it does."""

import re
import shutil
import struct

import pytest

from conftest import EXAMPLES, ROOT, Recording, hermes, make


CONFIGURATIONS = sorted(EXAMPLES.glob("**/*.yaml"))


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda path: path.stem)
def test_configuration_is_valid_without_a_warning(config, built):
    if config.stem == "polyglot":
        make_polyglot()
    done = hermes("validate", config)
    assert "warning" not in done.stdout + done.stderr
    hermes("plan", config)


def test_basic_sim_gives_its_expected_rows(record):
    recording = record("basic_sim.yaml")
    expected = Recording(EXAMPLES / "basic_sim/expected")
    assert len(recording.rows) == 1001
    assert recording.names[2:] == sorted(recording.names[2:])
    for row in expected.rows:
        frame = int(row[0])
        assert recording.bits(recording.rows[frame], expected.names) == expected.bits(row), f"frame {frame}"


def test_basic_sim_prints_what_it_is_asked_to(built):
    done = hermes("run", "Examples/basic_sim.yaml", "--print", "vehicle.position", "vehicle.velocity")
    expected = Recording(EXAMPLES / "basic_sim/expected")
    position, velocity = (expected.column(name)[-1] for name in ("vehicle.position", "vehicle.velocity"))
    last = done.stdout.strip().splitlines()[-1]
    assert "vehicle.position" in done.stdout
    assert position in last and velocity in last


def test_the_first_page_shows_what_the_first_command_prints(built):
    """README's block: the command of `make run`, its result, and its closing lines, of which only the times vary, and where
    the longest frame was."""
    command, result, *closing = (ROOT / "README.md").read_text().split("```")[1].strip().splitlines()
    assert command in (ROOT / "Makefile").read_text()
    done = hermes(*command.split()[1:])
    assert done.stdout.strip() == result
    wall = re.compile(r"in [0-9.]+ s \([0-9.]+x real time\)")
    said = done.stderr.strip().splitlines()
    assert wall.sub("", said[0]) == wall.sub("", closing[0])
    number = re.compile(r"[0-9.]+")
    assert [number.sub("", line) for line in said[1:2]] == [number.sub("", line) for line in closing[1:2]]
    assert [line.split(" most of it ")[0].split()[:3] for line in said[2:]] == [["the", "longest", "was"]]
    assert len(closing) == 3 and closing[2].startswith("the longest was frame ")


def test_basic_sim_takes_another_mass_and_refuses_none(record, built):
    light, heavy = record("basic_sim.yaml"), record("basic_sim.yaml", "--set", "vehicle.mass=2400")
    assert float(heavy.column("vehicle.position")[-1]) < float(light.column("vehicle.position")[-1])
    refused = hermes("run", "Examples/basic_sim.yaml", "--set", "vehicle.mass=0", succeeds=False)
    assert refused.returncode == 2
    assert "vehicle" in refused.stderr and "mass is 0 kg, it has to be positive" in refused.stderr


def test_phases_gives_the_table_of_its_readme(record):
    recording = record("phases/phases.yaml")
    lines = [line for line in (EXAMPLES / "phases/README.md").read_text().splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(recording.rows) == len(body)
    for row, expected in zip(recording.rows, body):
        assert [row[recording.names.index(name)] for name in head] == expected


def test_injection_steers_the_lift(built):
    done = hermes("run", "Examples/injection/injection.yaml")
    printed = re.findall(r"at \S+ m, \S+ m/s at most", done.stdout + done.stderr)
    assert printed == (EXAMPLES / "injection/expected").read_text().splitlines()


CELLS = ("c", "cpp", "rust", "python", "swift")


def make_polyglot():
    for compiler in ("g++", "cargo", "swiftc"):
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not on the PATH")
    make("polyglot")


def test_polyglot_cells_agree_bit_for_bit(record):
    make_polyglot()
    recording = record("polyglot/polyglot.yaml")
    expected = Recording(EXAMPLES / "polyglot/expected")
    assert len(recording.rows) == 1001
    for signal in expected.names[2:]:
        columns = [recording.column(f"{cell}.{signal}") for cell in CELLS]
        for cell, column in zip(CELLS, columns):
            assert column == columns[0], f"{cell}.{signal}"
    for row in expected.rows:
        found = dict(zip(recording.names, recording.rows[int(row[0])]))
        for signal, text in zip(expected.names, row):
            form = "<f" if signal == "single" else "<d"
            ours = found[signal if signal in ("frame", "time") else f"{CELLS[0]}.{signal}"]
            assert struct.pack(form, float(ours)) == struct.pack(form, float(text)), f"{signal} in frame {row[0]}"
