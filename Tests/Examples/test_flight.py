"""The flight under Hermes is the flight without it, and neither depends on anything but its numbers."""

import filecmp
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import FLIGHT, VENV, Recording, hermes
from example_script import Script
from hil_bench import NODE, free_port, needs_nodes, wait_for

HERE = pathlib.Path(__file__).resolve().parent


def plain(python, *arguments, program=FLIGHT / "plain_loop.py", **options):
    done = subprocess.run([python, "-B", program, *map(str, arguments)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="session")
def plain_flight(python, tmp_path_factory):
    """What the plain loop printed, and its recording."""
    path = tmp_path_factory.mktemp("plain") / "plain.csv"
    return plain(python, "--record", path), path


def with_jsbsim():
    """The environment in which scripts find JSBSim, as in Examples/flight/Makefile."""
    environment = {**os.environ, "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("HERMES_PYTHON", None)
    return environment


def test_plain_loop_flies_well(plain_flight):
    assert plain_flight[0] == (FLIGHT / "expected").read_text()


def test_flight_starts_in_trim(plain_flight):
    recording = Recording(plain_flight[1])
    start = {name: float(text) for name, text in zip(recording.names, recording.rows[0])}
    assert abs(start["aircraft.altitude"] - 1500.0) < 1e-6
    assert abs(start["aircraft.airspeed"] - 55.0) < 1e-6
    assert abs(start["aircraft.climb_rate"]) < 1e-6
    assert all(abs(start[f"aircraft.{axis}_rate"]) < 1e-6 for axis in ("pitch", "roll", "yaw"))


def test_plain_loop_does_not_depend_on_its_surroundings(python, plain_flight, tmp_path):
    """Another folder, locale, time zone and hash seed; a busy process with a second aircraft in the air."""
    surroundings = {**os.environ, "LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"}
    path = tmp_path / "busy.csv"
    plain(
        python, "--frames", 1200, "--record", path,
        program=HERE / "busy_flight.py", cwd=tmp_path, env=surroundings,
    )
    with open(path) as busy, open(plain_flight[1]) as quiet:
        for frame, (one, other) in enumerate(zip(busy, quiet), start=-1):
            assert one == other, f"frame {frame}"
    assert frame == 1200
    assert [each.name for each in tmp_path.iterdir()] == ["busy.csv"], "JSBSim wrote files"


def hold_to_plain_loop(path, plain_flight):
    flown, expected = Recording(path), Recording(plain_flight[1])
    assert flown.names == expected.names
    assert len(flown.rows) == len(expected.rows) == 24001
    for one, other in zip(flown.rows, expected.rows):
        if one != other and flown.bits(one) != expected.bits(other):
            columns = [name for name, a, b in zip(flown.names, flown.bits(one), expected.bits(other)) if a != b]
            pytest.fail(f"frame {other[0]}: {', '.join(columns)} differ")


def test_hermes_flies_the_plain_loop_bit_for_bit(python, plain_flight, built, tmp_path):
    path = tmp_path / "hermes.csv"
    hermes("run", "Examples/flight/flight.yaml", "--record", path, environment=with_jsbsim(), timeout=300)
    hold_to_plain_loop(path, plain_flight)


def without_hosts(text):
    return re.sub(r"(?m)^#.*\n|^hosts:\n(  .*\n)+\n|^    (host|files): .*\n", "", text)


def test_three_hosts_fly_the_same_flight():
    text = (FLIGHT / "three_hosts.yaml").read_text()
    assert without_hosts(text) == without_hosts((FLIGHT / "flight.yaml").read_text()) != text
    assert re.findall("    host: (.*)", text) == ["air", "plane", "cockpit"]


@pytest.fixture
def three_hosts(python, built, tmp_path):
    """three_hosts.yaml with the addresses of three nodes, each with no more than its own module's files."""
    files = {"air": ["build/wind"], "plane": ["aircraft.py", "c172p.py"], "cockpit": ["build/autopilot"]}
    text = (FLIGHT / "three_hosts.yaml").read_text()
    nodes = []
    try:
        for host, names in files.items():
            root, log, port = tmp_path / host, tmp_path / f"{host}.log", free_port()
            for name in names:
                (root / name).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                shutil.copy(FLIGHT / name, root / name)
                (root / name).chmod(0o755)
            with open(log, "wb") as said:
                nodes.append(subprocess.Popen(
                    [NODE, "--listen", f"tcp://127.0.0.1:{port}", "--ports", f"{port + 1}-{port + 9}", "--modules", root],
                    env=with_jsbsim(), stdout=said, stderr=said))
            wait_for(lambda: "listening on" in log.read_text(), log.read_text)
            text = re.sub(f"({host}: {{ endpoint: )[^ ]*", rf'\1"tcp://127.0.0.1:{port}"', text)
        path = tmp_path / "three_hosts.yaml"
        path.write_text(text)
        yield path
    finally:
        for node in nodes:
            node.terminate()
        codes = [node.wait(20) for node in nodes]
    assert codes == [0, 0, 0]


@needs_nodes
def test_three_hosts_fly_the_plain_loop_bit_for_bit(three_hosts, plain_flight, tmp_path):
    path = tmp_path / "hermes.csv"
    hermes("run", three_hosts, "--record", path, environment=with_jsbsim(), timeout=300)
    hold_to_plain_loop(path, plain_flight)


@needs_nodes
def test_the_script_verifies_the_flight(python, built, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", with_jsbsim()["PATH"])
    with Script(FLIGHT / "three_hosts", tmp_path, "240") as script:
        code, out, err = script.finish()
        assert code == 0, out + err
        assert re.fullmatch(r"identical: 240 frames, digest [0-9a-f]{32}; as placed on air, plane, cockpit and on one host\n", out)
        assert script.left() == []


def test_the_readme_shows_what_the_script_prints():
    """All but the digest, which belongs to the libc and CPU it was made on."""
    shown = (FLIGHT / "README.md").read_text().split("```")[1]
    assert re.fullmatch(r"\nidentical: 24000 frames, digest [0-9a-f]{32}; as placed on air, plane, cockpit and on one host\n", shown)


@pytest.mark.parametrize("arguments", [["0"], ["ten"], ["1", "2"]], ids=repr)
def test_the_script_refuses_wrong_usage(built, tmp_path, arguments):
    with Script(FLIGHT / "three_hosts", tmp_path, *arguments) as script:
        code, _, err = script.finish()
        assert code == 64 and "usage" in err
        assert script.left() == []


def test_hermes_repeats_the_flight(python, built, tmp_path):
    paths = [tmp_path / name for name in ("once.csv", "again.csv")]
    for path in paths:
        hermes(
            "run", "Examples/flight/flight.yaml", "--frames", 2400, "--record", path,
            environment=with_jsbsim(), timeout=60,
        )
    assert filecmp.cmp(*paths, shallow=False)


def test_another_seed_is_another_flight(python, built, plain_flight, tmp_path):
    path = tmp_path / "other.csv"
    hermes(
        "run", "Examples/flight/flight.yaml", "--frames", 1200, "--set", "wind.seed=2", "--record", path,
        environment=with_jsbsim(), timeout=60,
    )
    flown, expected = Recording(path), Recording(plain_flight[1])
    assert flown.column("wind.north")[1200] != expected.column("wind.north")[1200]
    assert abs(float(flown.column("aircraft.altitude")[1200]) - 1500.0) < 5.0
