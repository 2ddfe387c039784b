"""What the tests of the examples share: the built product, and how to run and read it."""

import csv
import os
import pathlib
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "Examples"
FLIGHT = EXAMPLES / "flight"
VENV = ROOT / ".build/python"
HERMES = pathlib.Path(os.environ.get("HERMES_BIN", ROOT / ".build/debug/hermes")).resolve()
LIBRARIES = pathlib.Path(os.environ.get("HERMES_LIBDIR", ROOT / ".build/lib")).resolve()


def make(*arguments, directory=EXAMPLES):
    done = subprocess.run(
        ["make", "-C", str(directory), f"LIBDIR={LIBRARIES}", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def hermes(*arguments, timeout=60, environment=None, succeeds=True):
    """Runs `hermes` at the top level, as the README does."""
    assert HERMES.exists(), f"{HERMES} is not built; run `make build`, or name another in HERMES_BIN"
    done = subprocess.run(
        [str(HERMES), *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout,
    )
    if succeeds:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


class Recording:
    """A CSV recording: `names` of its columns and `rows` of texts."""

    def __init__(self, path):
        with open(path, newline="") as file:
            self.names, *self.rows = csv.reader(file)

    def bits(self, row, names=None):
        """One row's numbers as integers, so that -0.0 is not 0.0 and a NaN is itself."""
        picked = row if names is None else [row[self.names.index(name)] for name in names]
        return [struct.unpack("<Q", struct.pack("<d", float(text)))[0] for text in picked]

    def column(self, name):
        index = self.names.index(name)
        return [row[index] for row in self.rows]


@pytest.fixture(scope="session")
def built():
    """The C modules of all examples."""
    make()


@pytest.fixture(scope="session")
def python():
    """A Python that has JSBSim. Makes it where it is missing, and the shared objects of the plain loop."""
    make("environment", f"VENV={VENV}", directory=FLIGHT)
    make("flight/build/wind.so", "flight/build/autopilot.so")
    return VENV / "bin/python"


@pytest.fixture
def record(tmp_path, built):
    """Runs a configuration with --record and gives the recording."""

    def run(config, *arguments, **options):
        path = tmp_path / "recording.csv"
        hermes("run", EXAMPLES / config, "--record", path, *arguments, **options)
        return Recording(path)

    return run
