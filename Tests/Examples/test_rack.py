"""The flight over three machines: the bits of the plain loop, closed to strangers, and nothing left."""

import os
import re
import signal
import subprocess

import pytest

from conftest import FLIGHT, HERMES
from example_script import Script
from hil_bench import can_make_namespaces, needs_nodes, wait_for

RACK = FLIGHT / "rack"
MACHINES = ("switch", "desk", "air", "plane", "cockpit")

needs_namespaces = pytest.mark.skipif(
    not can_make_namespaces(), reason="not root, or no ip: the flight over three network namespaces is not tested")
places = pytest.mark.parametrize(
    "place", [pytest.param((), id="namespaces", marks=needs_namespaces), pytest.param(("--loopback",), id="loopback")])


def wait_until_it_runs(folder):
    wait_for(lambda: [log for log in folder.glob("*/cockpit.log") if "a run begins" in log.read_text()], "it runs")


@needs_nodes
@places
def test_the_flight_over_three_machines_is_the_plain_loop(python, built, tmp_path, place):
    with Script(RACK, tmp_path, *place, "5") as script:
        code, out, err = script.finish()
        assert code == 0, out + err
        assert "the same bits in 601 frames of 42 signals" in out
        digests = re.findall("digest ([0-9a-f]+)", out)
        assert len(digests) == 2 and digests[0] == digests[1], out
        assert out.endswith("; as placed on air, plane, cockpit and on one host\n")
        assert script.left() == []


@needs_nodes
@needs_namespaces
def test_its_machines_speak_to_accepted_keys_only(python, built, tmp_path):
    with Script(RACK, tmp_path, "1000") as script:
        wait_until_it_runs(tmp_path)
        stem = f"rack-{script.process.pid}"
        assert sorted(script.namespaces()) == sorted(f"{stem}-{name}" for name in MACHINES)
        config, = tmp_path.glob("*/desk/three_hosts.yaml")
        subprocess.run([HERMES, "keygen", tmp_path / "stranger.key"], check=True, capture_output=True)

        def run_as(key, name):
            words = [HERMES, "run", config, "--key", key, "--name", name, "--frames", "1"]
            return subprocess.run(
                ["ip", "netns", "exec", f"{stem}-desk", *words], capture_output=True, text=True, timeout=120)

        stranger = run_as(tmp_path / "stranger.key", f"{stem}-stranger")
        assert stranger.returncode == 2 and "key" in stranger.stderr, stranger.stderr
        accepted = run_as(config.parent.parent / "desk.key", f"{stem}-second")
        assert accepted.returncode == 0, accepted.stderr
        for path in tmp_path.glob("stranger.*"):
            path.unlink()
        script.process.send_signal(signal.SIGTERM)
        assert script.finish()[0] == 128 + signal.SIGTERM
        assert script.left() == []


@needs_nodes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_the_script_tidies_up_when_it_is_interrupted(python, built, tmp_path, number):
    with Script(RACK, tmp_path, "1000") as script:
        wait_until_it_runs(tmp_path)
        script.process.send_signal(number)
        assert script.finish()[0] == 128 + number
        assert script.left() == []


@needs_nodes
def test_a_user_whose_files_others_may_write_to_flies_as_well(python, built, tmp_path):
    before = os.umask(0o002)
    try:
        with Script(RACK, tmp_path, "--loopback", "1") as script:
            code, out, err = script.finish()
    finally:
        os.umask(before)
    assert code == 0, out + err


@pytest.mark.parametrize("arguments", [["0"], ["ten"], [""], ["--hosts"]], ids=repr)
def test_the_script_refuses_wrong_usage(built, tmp_path, arguments):
    with Script(RACK, tmp_path, *arguments) as script:
        code, _, err = script.finish()
        assert code == 64 and "usage" in err
        assert script.left() == []


@pytest.fixture(scope="session")
def short_recording(python, tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "plain.csv"
    words = [python, "-B", FLIGHT / "plain_loop.py", "--frames", "3", "--record", path]
    subprocess.run(words, check=True, capture_output=True)
    return path


def with_a_negative_zero(lines):
    """Frame 0 with 0.0, the rudder, turned into -0.0: equal numbers, other bits."""
    fields, column = lines[1].split(","), lines[0].split(",").index("aircraft.rudder")
    assert fields[column] == "0.0"
    fields[column] = "-0.0"
    return [lines[0], ",".join(fields), *lines[2:]]


@pytest.mark.parametrize("change, says", [
    (lambda lines: lines, "the same bits in 4 frames of 42 signals"),
    (with_a_negative_zero, "frame 0: aircraft.rudder differ"),
    (lambda lines: lines[:-1], "the recording ends before frame 3"),
    (lambda lines: [*lines, lines[-1]], "the recording goes on after 4 frames"),
    (lambda lines: [lines[0], *lines[2:]], "frame 1 where frame 0 belongs"),
    (lambda lines: [*lines[:4], lines[4].rpartition(",")[0]], "frame 3 has 41 values for 42 signals"),
    (lambda lines: [lines[0].replace("wind.seed", "wind.seat"), *lines[1:]], "other signals: wind.seat, wind.seed"),
], ids=["same", "bit", "short", "long", "gap", "cut", "names"])
def test_the_plain_loop_tells_a_recording_of_its_own_from_others(python, short_recording, tmp_path, change, says):
    path = tmp_path / "changed.csv"
    path.write_text("\n".join(change(short_recording.read_text().splitlines())) + "\n")
    done = subprocess.run(
        [python, "-B", FLIGHT / "plain_loop.py", "--frames", "3", "--compare", path], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == says, done.stdout + done.stderr
    assert done.returncode == (0 if says.startswith("the same") else 1)
