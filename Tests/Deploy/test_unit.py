"""The systemd unit says what systemd understands, and leaves little exposed."""

import shutil
import subprocess

import pytest

from conftest import DEPLOY, Unit

UNIT = DEPLOY / "systemd/hermes-node.service"
EXPOSURE = 25
"""At most this, of 100. What is left: the network, devices that a drop-in may open, and real-time scheduling."""


@pytest.fixture
def analyze(tmp_path):
    """Runs `systemd-analyze WORDS... UNIT`, on a copy whose program is one that is surely there."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("NOT CHECKED: there is no systemd-analyze here")

    def run(*words, text=UNIT.read_text()):
        copy = tmp_path / UNIT.name
        copy.write_text(text.replace("/usr/bin/hermes-node", "/bin/true"))
        return subprocess.run(["systemd-analyze", *words, copy], capture_output=True, text=True)

    return run


def test_systemd_understands_every_line(analyze):
    done = analyze("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "LimitRTPRI" in analyze("verify", text=UNIT.read_text().replace("LimitRTPRIO", "LimitRTPRI")).stderr


def test_exposure_is_low(analyze):
    words = ["security", "--offline=true", "--no-pager"]
    done = analyze(*words, f"--threshold={EXPOSURE}")
    if "unrecognized option" in done.stderr:
        pytest.skip("NOT CHECKED: this systemd-analyze is too old for --offline")
    assert done.returncode == 0, done.stdout + done.stderr


def test_settings_become_the_command_line():
    unit, settings = Unit(UNIT.read_text()), (DEPLOY / "systemd/hermes-node.default").read_text()
    shipped = ["/usr/bin/hermes-node", "--listen", "tcp://127.0.0.1:7600", "--modules", "/var/lib/hermes/modules"]
    assert unit.command(unit.environment(settings)) == shipped
    # Without a file, as after `make install`, a start does not fail for want of a variable.
    assert unit.command(unit.environment("")) == shipped
    # The line that the file offers, with its `#` taken away.
    keys = unit.command(unit.environment(settings.replace('OPTIONS=""\n', "").replace("#OPTIONS=", "OPTIONS=")))
    assert keys == [*shipped, "--key", "/etc/hermes/keys/node", "--accept", "/etc/hermes/accepted"]


def test_the_node_keeps_what_it_needs():
    """Each of these, tightened, starts a node that cannot do its work: systemd-analyze would praise it."""
    unit = Unit(UNIT.read_text())
    # Its filter answers openat2 with "not implemented".
    assert ("Service", "RestrictSUIDSGID") not in unit.values
    # Would hide the devices that a drop-in opens, deny real-time priorities, and cut off clients in /dev/shm.
    assert not {key for _, key in unit.values} & {"PrivateDevices", "RestrictRealtime", "PrivateIPC", "RemoveIPC"}
    # Would kill modules on their way to the safe state when the node has died.
    assert unit["Service", "KillMode"] == "control-group" and unit["Service", "WatchdogSignal"] == "SIGTERM"
