"""Hardware in the loop: whatever happens to cables and processes, the simulation knows what it does not know, and the
device ends in its safe state."""

import csv
import math
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest

from conftest import HERMES
from example_script import Script
from hil_bench import (COMMAND, HEADER, HIL, QUERY, SAFE, Bench, Device, Simulation, State, can_make_namespaces,
                       command, datagram, let_pass, needs_nodes, sealed, send, state, wait_for)

needs_root = pytest.mark.skipif(not can_make_namespaces(), reason="network namespaces need root and `ip`")


@pytest.fixture
def device(built, tmp_path):
    with Device(tmp_path) as device:
        yield device


@pytest.fixture
def patient(built, tmp_path):
    """A device whose watchdog does not interfere, however slow this machine is."""
    with Device(tmp_path, watchdog_ms=60_000) as device:
        yield device
        device.send(datagram(SAFE))


def example(hosts, cables=False):
    marks = [mark for mark, needed in ((needs_nodes, hosts == 3), (needs_root, cables)) if needed]
    name = f"{hosts}-host" + ("-cables" if cables else "")
    return pytest.param((hosts, cables), marks=marks, id=name)


@pytest.fixture(params=[example(1), example(3)])
def bench(request, built, tmp_path):
    """Everything but the simulation."""
    with Bench(tmp_path, *request.param) as bench:
        yield bench


@pytest.fixture
def simulation(bench):
    with bench.simulation() as simulation:
        yield simulation


# ---- The device alone ----------------------------------------------------------------------------------------------

def test_device_starts_safe_and_says_so(device):
    found = device.query()
    assert (found.driven, found.cause, found.drive, found.speed) == (False, "started", 0.0, 0.0)


def test_device_obeys_and_tells_its_commander(patient):
    with patient.machine.socket() as commander:
        commander.settimeout(10)
        patient.send(command(9, 1, 3.0), via=commander)
        told, after = (State(commander.recv(1000)) for _ in range(2))
    assert (told.session, told.accepted, told.driven, told.cause, told.drive) == (9, 1, True, "command", 3.0)
    assert told.sequence > 0 and after.sequence == told.sequence + 1
    assert after.boot == told.boot and after.sent_ns > told.sent_ns and after.speed > told.speed


def test_device_limits_what_it_is_told(patient):
    patient.send(command(1, 1, 1e9))
    assert patient.until_taken(1, 1).drive == 12.0
    patient.send(command(1, 2, -1e9))
    assert patient.until_taken(1, 2).drive == -12.0


GOOD = command(5, 10, 6.0)
NOT_GOOD = {
    "empty": b"",
    "one byte": b"H",
    "header alone": GOOD[:24],
    "cut": GOOD[:-1],
    "longer": GOOD + b"\0",
    "a bit harmed": GOOD[:25] + bytes([GOOD[25] ^ 1]) + GOOD[26:],
    "wrong CRC": GOOD[:-4] + b"\0\0\0\0",
    "wrong magic": datagram(COMMAND, 5, 10, struct.pack("<d", 6.0), magic=0x4C494831),
    "other version": datagram(COMMAND, 5, 10, struct.pack("<d", 6.0), version=2),
    "other size": datagram(COMMAND, 5, 10, struct.pack("<d", 6.0), size=60),
    "no kind": datagram(0, 5, 10, struct.pack("<d", 6.0)),
    "unknown kind": datagram(77, 5, 10, struct.pack("<d", 6.0)),
    "a kind's wrong size": datagram(QUERY, 5, 10, struct.pack("<d", 6.0)),
    "a state": state(),
    "session of nobody": command(0, 10, 6.0),
    "NaN": command(5, 10, math.nan),
    "infinity": command(5, 10, math.inf),
    "huge": bytes(range(250)) * 240,
    "of a session that is over": command(4, 11, 6.0),
}


@pytest.mark.parametrize("raw", NOT_GOOD.values(), ids=NOT_GOOD.keys())
def test_device_takes_nothing_that_is_not_good(patient, raw):
    patient.send(datagram(SAFE, 4))
    before = patient.query().refused
    patient.send(raw)
    found = patient.until(lambda found: found.refused > before, "it refuses")
    assert not found.driven and found.refused == before + 1
    patient.send(GOOD)
    assert patient.until_taken(5, 10).driven


@pytest.mark.parametrize("raw", [*NOT_GOOD.values(), command(5, 9, 6.0), GOOD, datagram(QUERY)],
                         ids=[*NOT_GOOD.keys(), "old", "twice", "a query"])
def test_nothing_but_good_commands_feed_the_watchdog(device, raw):
    device.send(datagram(SAFE, 4))
    device.send(GOOD)
    device.until_taken(5, 10)

    def safe_nevertheless():
        device.send(raw)
        return not device.query().driven
    wait_for(safe_nevertheless, "the watchdog acts")
    assert device.query().cause == "watchdog"


def test_sequence_numbers_wrap_around(patient):
    patient.send(command(5, 0xFFFFFFFE, 1.0))
    patient.send(command(5, 3, 2.0))
    assert patient.until_taken(5, 3).drive == 2.0
    patient.send(command(5, 0xFFFFFFFF, 1.0))
    assert patient.until(lambda found: found.refused == 1, "it refuses the older one").accepted == 3


def test_state_goes_on_whether_or_not_anybody_listens(device):
    device.send(command(5, 1, 12.0))
    device.until_taken(5, 1)
    fast = device.until_safe().speed
    assert fast > 1.0
    device.until(lambda found: 0.0 < found.speed < fast / 2, "the flywheel runs out")


def test_safe_ends_a_session_for_good(patient):
    patient.send(command(5, 1, 6.0))
    assert patient.until_taken(5, 1).driven
    patient.send(datagram(SAFE, 5))
    assert patient.until_safe().cause == "told"
    patient.send(command(5, 2, 6.0))  # it was under way
    assert not patient.until(lambda found: found.refused == 1, "it refuses").driven
    patient.send(command(6, 1, 6.0))
    assert patient.until_taken(6, 1).driven
    patient.send(datagram(SAFE, 0))  # whoever it is
    assert patient.until_safe().cause == "told"
    patient.send(command(6, 2, 6.0))
    assert not patient.until(lambda found: found.refused == 2, "it refuses").driven


def test_one_session_at_a_time(patient):
    patient.send(command(5, 1, 6.0))
    patient.until_taken(5, 1)
    patient.send(command(6, 100, -6.0))
    patient.send(datagram(SAFE, 6))
    found = patient.until(lambda found: found.refused == 2, "it refuses both")
    assert (found.session, found.driven, found.drive) == (5, True, 6.0)


def test_a_session_that_is_silent_may_be_followed_by_another(device):
    device.send(command(5, 1, 6.0))
    device.until_taken(5, 1)
    device.until_safe()
    device.send(command(7, 1, 6.0))
    device.until_taken(7, 1)


def test_a_session_that_was_silent_may_go_on(device):
    for number in (1, 2):
        device.send(command(5, number, 6.0))
        device.until_taken(5, number)
        device.until_safe()
    assert device.changes == ["driven", "safe", "driven", "safe"]


def test_a_frozen_device_is_safe_before_it_looks_at_what_waits(device):
    device.send(command(5, 1, 6.0))
    device.until_taken(5, 1)
    device.freeze()
    for number in range(2, 52):
        device.send(command(5, number, 6.0))
    let_pass(3 * device.watchdog_ms / 1000)
    device.thaw()
    found = device.until(lambda found: found.refused == 50, "it refuses what is old by now")
    assert (found.driven, found.cause, found.accepted) == (False, "watchdog", 1)
    assert device.changes == ["driven", "safe"]


def test_device_goes_off_in_order(patient):
    patient.send(command(5, 1, 6.0))
    patient.until_taken(5, 1)
    patient.off()
    assert patient.process.returncode == 0
    assert patient.log[-1].startswith("off")


@pytest.mark.parametrize("arguments", [["--port"], ["--port", "x"], ["--port", "65536"], ["--watchdog-ms", "0"],
                                       ["--watchdog-ms", "-5"], ["--speed", "3"]], ids=" ".join)
def test_device_refuses_wrong_usage(built, arguments):
    done = subprocess.run([HIL / "build/device", *arguments], capture_output=True, text=True)
    assert done.returncode == 64 and done.stderr.startswith("device: ")


# ---- The bridge, against a device that the test plays --------------------------------------------------------------

class PlayedDevice:
    """A socket that the bridge takes for its device."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.endpoint = self.socket.getsockname()

    def commanded(self):
        """Waits for the next datagram of the bridge; where it came from."""
        raw, self.bridge = self.socket.recvfrom(1000)
        return raw

    def says(self, *datagrams):
        for raw in datagrams:
            self.socket.sendto(raw, self.bridge)


@pytest.fixture
def played():
    played = PlayedDevice()
    yield played
    played.socket.close()


@pytest.fixture
def bridge(built, played, tmp_path):
    """Without a clock of its own: one frame at a time, as the test steps it; stale after a second."""
    with Simulation(tmp_path, played.endpoint, "--mode", "single_frame", stale_ms=1000) as simulation:
        wait_for(lambda: simulation.command("step", 1).returncode == 0, "the first step")
        played.commanded()
        yield simulation


def stepped(simulation, *names):
    assert simulation.command("step", 1).returncode == 0
    return tuple(simulation.values(*(f"bridge.{name}" for name in names)).values())


COUNTS = ("received", "lost", "ignored")


def test_bridge_knows_nothing_until_it_hears_something(bridge):
    assert stepped(bridge, "stale", "speed", "received", "sent") == (True, 0.0, 0, 2)


def test_bridge_takes_the_newest_and_counts_the_rest(bridge, played):
    played.says(state(sequence=3, speed=3.0), state(sequence=4, speed=4.0), state(sequence=8, speed=8.0))
    assert stepped(bridge, "stale", "speed", *COUNTS) == (False, 8.0, 3, 3, 0)
    played.says(state(sequence=7, speed=7.0), state(sequence=8, speed=9.0))  # late, and twice
    assert stepped(bridge, "speed", *COUNTS) == (8.0, 3, 3, 2)
    played.says(state(sequence=9, speed=9.0))
    assert stepped(bridge, "speed", *COUNTS) == (9.0, 4, 3, 2)


def test_bridge_believes_nothing_else(bridge, played):
    good = state(sequence=1, speed=5.0)
    played.says(b"", b"noise", good[:-1], good + b"\0", good[:-1] + bytes([good[-1] ^ 1]), command(1, 1, 5.0),
                datagram(QUERY), state(sequence=0, speed=5.0), sealed(b"x" * 56), bytes(5000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(good, played.bridge)
    assert stepped(bridge, "stale", "speed", *COUNTS) == (True, 0.0, 0, 0, 11)


def test_bridge_believes_a_device_that_was_switched_on_again_once_the_old_one_is_silent(bridge, played):
    played.says(state(boot=1, sequence=1000, speed=10.0))
    assert stepped(bridge, "stale", "speed") == (False, 10.0)
    played.says(state(boot=2, sequence=1, speed=0.5))
    assert stepped(bridge, "speed", "ignored") == (10.0, 1)
    wait_for(lambda: stepped(bridge, "stale") == (True,), "the old one counts as silent")
    played.says(state(boot=2, sequence=9, speed=0.5))
    assert stepped(bridge, "stale", "speed", *COUNTS) == (False, 0.5, 2, 0, 1)


def test_what_waited_for_long_is_not_taken_for_news(bridge, played):
    """A paused simulation reads nothing; what its socket holds then is old."""
    played.says(state(sequence=1, speed=4.0))
    let_pass(1.5)
    stale, speed, age, received = stepped(bridge, "stale", "speed", "age_s", "received")
    assert (stale, speed, received) == (True, 4.0, 1) and age > 1.0


def test_bridge_sends_what_it_is_told_and_says_goodbye(bridge, played):
    first, second = (stepped(bridge, "sent") and played.commanded() for _ in range(2))
    session, number = HEADER.unpack_from(first)[4:6]
    for offset, raw in enumerate((first, second)):
        sent_ns, volts = struct.unpack_from("<Qd", raw, 16)
        assert raw == datagram(COMMAND, session, number + offset, struct.pack("<d", volts), sent_ns=sent_ns)
    assert session != 0
    assert bridge.command("stop").returncode == 0
    for _ in range(2):  # several, as one may be lost
        raw = played.commanded()
        assert raw == datagram(SAFE, session, sent_ns=struct.unpack_from("<Q", raw, 16)[0])


CONFIGURATIONS = {
    "": "no `device ADDRESS PORT`",
    "stale_ms 50": "no `device ADDRESS PORT`",
    "device 127.0.0.1 7710": "no `stale_ms NUMBER`",
    "# device 127.0.0.1 7710\n\ndevice 127.0.0.1": "bridge.conf:3: neither",
    "device 127.0.0.1 65536\nstale_ms 50": "ports are numbers up to 65535",
    "device 127.0.0.1 7710\nstale_ms 0": "bridge.conf:2: neither",
    "device 127.0.0.1 7710\nstale_ms 50 60": "bridge.conf:2: neither",
}


@pytest.mark.parametrize("text,sentence", CONFIGURATIONS.items(), ids=lambda text: repr(text)[:40])
def test_bridge_says_what_is_wrong_with_its_configuration(built, tmp_path, text, sentence):
    with Simulation(tmp_path, ("127.0.0.1", 1)) as simulation:
        simulation.folder.joinpath("bridge.conf").write_text(text)
        assert simulation.finish() == 2
        assert sentence in simulation.said and "bridge" in simulation.said


# ---- The loop ------------------------------------------------------------------------------------------------------

def test_a_run_completes_and_leaves_the_device_safe(bench):
    with bench.simulation("--frames", 300) as simulation:
        assert simulation.finish() == 0, simulation.said
    summary, recording = simulation.summary, simulation.recording
    assert (summary["outcome"], summary["frames"], summary["hosts"]) == ("completed", 300, bench.hosts)
    assert {"p50", "p99", "p999", "max"} <= set(summary["lateness_us"]) and "overruns" in summary
    assert len(recording.rows) == 301
    assert recording.column("bridge.stale")[0] == "1"
    assert recording.column("bridge.sent") == [str(frame) for frame in range(301)]
    assert float(recording.column("bridge.speed")[-1]) > 0.0
    bench.device.until_safe()
    assert bench.device.changes[0] == "driven" and bench.device.changes[-1] == "safe"


def test_both_configurations_are_one_but_for_the_hosts():
    one, three = ((HIL / name).read_text() for name in ("one_host.yaml", "hil.yaml"))
    three = re.sub(r"^hosts:\n(?:  .*\n)+\n", "", three, flags=re.MULTILINE)
    three = re.sub(r"^    host: .*\n", "", three, flags=re.MULTILINE)
    begin = 'version: "0.2"'
    assert three[three.index(begin):] == one[one.index(begin):]


def test_the_motor_follows_the_operator(simulation):
    simulation.until_on_target()
    assert simulation.command("set", "operator.low=60", "operator.high=60").returncode == 0
    simulation.until(lambda speed: abs(speed - 60) < 5, "the motor turns at 60", "bridge.speed")


@pytest.mark.parametrize("bench", [example(1), example(1, True), example(3), example(3, True)], indirect=True)
def test_a_device_that_is_gone_makes_stale_and_comes_back(bench, simulation):
    """With cables it is unplugged, without it is frozen."""
    device, cable = bench.device, (bench.beside, "device")
    simulation.until_on_target()
    bench.network.pull(*cable) if cable in bench.network.cables else device.freeze()
    simulation.until_stale()
    commands = ("bridge.sent", "bridge.unsent")  # one a frame
    before = sum(simulation.values(*commands).values())
    simulation.until(lambda sent, unsent: sent + unsent > before + 20, "frames go on meanwhile", *commands)
    bench.network.plug(*cable) if cable in bench.network.cables else device.thaw()
    simulation.until_stale(False)
    simulation.until_on_target()
    assert simulation.command("stop").returncode == 0
    device.until_safe()
    assert device.changes[:3] == ["driven", "safe", "driven"], "the watchdog had to act"

    rows = list(csv.DictReader(simulation.record.open()))
    gone = [row for row in rows[1:] if row["bridge.stale"] == "1" and int(row["bridge.received"]) > 0]
    assert len(gone) > 10
    for earlier, row in zip(rows, rows[1:]):
        if row["bridge.received"] == earlier["bridge.received"]:
            held = ("bridge.speed", "bridge.drive", "bridge.driven")
            assert [row[name] for name in held] == [earlier[name] for name in held], f"frame {row['frame']}"
        if row["bridge.stale"] == "1":
            assert float(row["controller.command"]) == 0.0 == float(row["controller.target"]), f"frame {row['frame']}"


def test_a_run_without_a_device_completes_too(built, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        endpoint = free.getsockname()
    with Simulation(tmp_path, endpoint, "--frames", 100) as simulation:
        assert simulation.finish() == 0, simulation.said
    recording = simulation.recording
    assert set(recording.column("bridge.stale")) == {"1"} and recording.column("bridge.sent")[-1] == "100"
    assert set(recording.column("controller.command")) == {"0"}


def test_a_device_that_is_switched_off_and_on_again_is_found(device, tmp_path):
    with Simulation(tmp_path, device.endpoint) as simulation:
        simulation.until_on_target()
        device.off()
        simulation.until_stale()
        with Device(tmp_path, port=device.port) as other:
            simulation.until_on_target()
            assert simulation.command("stop").returncode == 0
            assert other.until_safe().cause == "told"


def test_a_paused_simulation_drives_nothing(bench, simulation):
    simulation.until_on_target()
    assert simulation.command("pause").returncode == 0
    assert bench.device.until_safe().cause == "watchdog"
    assert simulation.command("resume").returncode == 0
    simulation.until_on_target()


def test_a_reset_goes_on_with_the_device(bench, simulation):
    simulation.until_on_target()
    assert simulation.command("reset").returncode == 0
    simulation.until_on_target()
    bench.device.until_driven()


def test_two_runs_do_not_share_a_device(patient, tmp_path):
    with Simulation(tmp_path, patient.endpoint) as first:
        first.until_on_target()
        with Simulation(tmp_path, patient.endpoint, "--frames", 100) as second:
            assert second.finish() == 0, second.said
        assert set(second.recording.column("bridge.stale")) == {"1"}
        assert patient.query().driven, "the second run's end must not stop the first"
        first.until_on_target()


# ---- Every end -----------------------------------------------------------------------------------------------------

MODULES = ("bridge", "controller", "operator")
WORKERS = ("lab.worker", "rack.worker")
KEEPERS = ("keeper", "lab.keeper", "rack.keeper")
NODES = ("lab", "rack")


def each_of(names):
    """(bench, one of its processes), for one host as far as it is there, and for three."""
    here = [(1, name) for name in names if name in (*MODULES, "hermes", "keeper")]
    return pytest.mark.parametrize(
        "bench, victim", [pytest.param((hosts, False), name, id=f"{hosts}-host-{name}",
                                       marks=[needs_nodes] if hosts == 3 else [])
                          for hosts, name in here + [(3, name) for name in names]], indirect=["bench"])


def test_these_are_all_processes(bench, simulation):
    simulation.until_on_target()
    expected = ("hermes", *MODULES) + (WORKERS + KEEPERS if bench.hosts == 3 else ("keeper",))
    assert sorted(simulation.processes()) == sorted(expected)


@pytest.mark.parametrize("end", ["stop", "SIGINT", "SIGTERM"])
def test_an_end_in_order_tells_the_device(bench, simulation, end):
    simulation.until_on_target()
    if end == "stop":
        assert simulation.command("stop").returncode == 0
    else:
        simulation.process.send_signal(getattr(signal, end))
    simulation.finish()
    bench.device.until_safe()
    told_for_good(bench.device)


def told_for_good(device):
    """However safe came about, the session is over: the device takes no command of it that is still under way."""
    found = device.query()
    device.send(command(found.session, found.accepted + 1, 6.0))
    assert not device.until(lambda later: later.refused == found.refused + 1, "it refuses").driven


@each_of(("hermes", *MODULES, *KEEPERS, *WORKERS, *NODES))
def test_device_is_safe_after_the_death_of(bench, simulation, victim):
    simulation.until_on_target()
    send(simulation.pid(victim), signal.SIGKILL)
    bench.device.until_safe()
    assert simulation.finish() != 0
    simulation.until_gone()
    assert not bench.device.query().driven and bench.device.changes[-1] == "safe"
    if victim == "bridge":
        assert bench.device.query().cause == "watchdog"  # nobody was left to say it
    else:
        told_for_good(bench.device)


@each_of(MODULES)
def test_device_is_safe_while_frozen_is(bench, simulation, victim):
    simulation.until_on_target()
    pid = simulation.pid(victim)
    send(pid, signal.SIGSTOP)
    assert bench.device.until_safe().cause == "watchdog"
    send(pid, signal.SIGCONT)
    simulation.until_on_target()


@each_of(("hermes", *WORKERS))
def test_device_is_safe_while_those_are_frozen_who_make_the_frames(bench, simulation, victim):
    """Long enough, and over several hosts the run is given up."""
    simulation.until_on_target()
    send(simulation.pid(victim), signal.SIGSTOP)
    assert bench.device.until_safe().cause == "watchdog"


@pytest.mark.parametrize("bench", [example(3, True)], indirect=True)
@pytest.mark.parametrize("cable", [("desk", "lab"), ("desk", "rack"), ("lab", "rack")], ids="-".join)
def test_device_is_safe_when_hosts_lose_each_other(bench, simulation, cable):
    simulation.until_on_target()
    bench.network.pull(*cable)
    bench.device.until_safe()
    assert simulation.finish() == 2
    assert any(host in simulation.said_path.read_text() for host in cable if host != "desk")
    simulation.until_gone()
    assert not bench.device.query().driven and bench.device.changes[-1] == "safe"


# ---- The script ----------------------------------------------------------------------------------------------------

README = (HIL / "README.md").read_text()


def shape(output):
    """Its kinds of lines: without their numbers, and without why the device was safe."""
    lines = (re.sub(r"session \w+|safe: .*|\d[\d.:]*", "", line) for line in output.strip().splitlines())
    return {" ".join(line.split()) for line in lines}


WAYS = [
    pytest.param([], marks=[needs_root, needs_nodes], id="cables"),
    pytest.param(["--loopback"], marks=needs_nodes, id="loopback"),
    pytest.param(["--one-host"], marks=needs_root, id="one-host-cables"),
    pytest.param(["--one-host", "--loopback"], id="one-host-loopback"),
]


@pytest.mark.parametrize("way", WAYS)
def test_the_script_shows_how_the_run_went_and_tidies_up(built, tmp_path, way):
    with Script(HIL / "run", tmp_path, *way, "2") as script:
        code, out, err = script.finish()
        assert code == 0, out + err
        assert "frames       400 in" in out
        documented = next(block for block in README.split("```") if "overruns" in block)
        assert shape(documented) <= shape(out), out
        assert script.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("way", WAYS)
def test_the_script_tidies_up_when_it_is_interrupted(built, tmp_path, way, number):
    with Script(HIL / "run", tmp_path, *way, "600") as script:
        wait_for(lambda: [log for log in tmp_path.glob("*/device.log") if "driven" in log.read_text()],
                 "the device is driven")
        script.process.send_signal(number)
        assert script.finish()[0] == 128 + number
        assert script.left() == []


@pytest.mark.parametrize("arguments", [["0"], ["ten"], [""], ["--faster"]], ids=repr)
def test_the_script_refuses_wrong_usage(built, tmp_path, arguments):
    with Script(HIL / "run", tmp_path, *arguments) as script:
        code, _, err = script.finish()
        assert code == 64 and "usage" in err
        assert script.left() == []
