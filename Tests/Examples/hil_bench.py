"""What the tests of Examples/hil stand on: the device as a process, its protocol written a second time from the table
in the example's README, cables that can be pulled, and the simulation in the background."""

import ctypes
import itertools
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import zlib

import pytest

from conftest import EXAMPLES, HERMES, Recording

HIL = EXAMPLES / "hil"
PATIENCE = float(os.environ.get("HERMES_TEST_PATIENCE", 30))
"""Seconds after which something that has to happen counts as hanging."""
COUNTER = itertools.count(1)


def wait_for(condition, what, seconds=PATIENCE):
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain: {what() if callable(what) else what}")
        time.sleep(0.002)


def let_pass(seconds):
    """For faults that are a length of time: a cable that stays out, a datagram that grows old."""
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + seconds, "the clock stands still")


# ---- The protocol, second implementation ------------------------------------------------------------------------

COMMAND, SAFE, QUERY, STATE = 1, 2, 3, 4
CAUSES = ("started", "command", "watchdog", "told")
HEADER, BODY = struct.Struct("<IBBHIIQ"), struct.Struct("<IBBHIIdd")
MAGIC, VERSION = 0x314C4948, 1


def sealed(content):
    return content + struct.pack("<I", zlib.crc32(content))


def datagram(kind, session=0, sequence=0, body=b"", magic=MAGIC, version=VERSION, size=None, sent_ns=0):
    size = HEADER.size + len(body) + 4 if size is None else size
    return sealed(HEADER.pack(magic, version, kind, size, session, sequence, sent_ns) + body)


def command(session, sequence, volts):
    return datagram(COMMAND, session, sequence, struct.pack("<d", volts))


def state(boot=1, sequence=1, speed=0.0, drive=0.0, driven=True):
    return datagram(STATE, 7, sequence, BODY.pack(boot, driven, 1, 0, 0, 0, speed, drive))


class State:
    """A STATE datagram, taken apart; anything that is not exactly one raises."""

    def __init__(self, raw):
        assert raw == sealed(raw[:-4]), "wrong CRC"
        magic, version, kind, size, self.session, self.sequence, self.sent_ns = HEADER.unpack_from(raw)
        assert (magic, version, kind, size) == (MAGIC, VERSION, STATE, len(raw)) and len(raw) == 60
        self.boot, driven, cause, zero, self.accepted, self.refused, self.speed, self.drive = BODY.unpack_from(raw, 24)
        assert driven in (0, 1) and zero == 0
        self.driven, self.cause = bool(driven), CAUSES[cause]

    def __repr__(self):
        return str(vars(self))


# ---- Machines and cables -----------------------------------------------------------------------------------------

def can_make_namespaces():
    return os.geteuid() == 0 and shutil.which("ip") is not None


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Machine:
    """A network namespace. Without one (name None) it is this machine and everything meets on loopback."""

    def __init__(self, name=None):
        self.name = name

    def prefix(self):
        return ["ip", "netns", "exec", self.name] if self.name else []

    def socket(self):
        """A UDP socket on this machine. A thread enters the namespace to open it: a namespace belongs to a thread."""
        made = []

        def make():
            if self.name:
                with open(f"/run/netns/{self.name}") as file:
                    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


class Cable:
    """Two machines with a cable between them: `host` at 10.77.4.1, `device` at 10.77.4.2."""

    def __enter__(self):
        stem = f"hermes-hil-{os.getpid()}-{next(COUNTER)}"
        self.host, self.device = Machine(f"{stem}-host"), Machine(f"{stem}-device")
        self.made = []
        try:
            for machine in (self.host, self.device):
                ip("netns", "add", machine.name)
                self.made.append(machine)
                ip("-n", machine.name, "link", "set", "lo", "up")
            ip("link", "add", "name", "device", "netns", self.host.name,
               "type", "veth", "peer", "name", "host", "netns", self.device.name)
            for machine, end, address in ((self.host, "device", "10.77.4.1"), (self.device, "host", "10.77.4.2")):
                ip("-n", machine.name, "address", "add", f"{address}/24", "dev", end)
                ip("-n", machine.name, "link", "set", end, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for machine in self.made:
            ip("netns", "del", machine.name)

    def pull(self):
        ip("-n", self.host.name, "link", "set", "device", "down")

    def plug(self):
        ip("-n", self.host.name, "link", "set", "device", "up")


# ---- The device --------------------------------------------------------------------------------------------------

class Device:
    """`with Device(folder) as device:`; at the end, when nothing commands it any more, it must become safe."""

    def __init__(self, folder, machine=None, address="127.0.0.1", port=0, watchdog_ms=100):
        self.machine, self.address, self.port, self.watchdog_ms = machine or Machine(), address, port, watchdog_ms
        self.path = folder / f"device{next(COUNTER)}.log"

    def __enter__(self):
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(
                [*self.machine.prefix(), HIL / "build/device", "--address", self.address, "--port", str(self.port),
                 "--watchdog-ms", str(self.watchdog_ms)], stdout=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: self.process.poll() is not None or self.log, "the device says that it is on")
        assert self.process.poll() is None, "the device did not start"
        self.port = int(re.match(r"on: [0-9.]+:(\d+),", self.log[0])[1])
        self.socket = self.machine.socket()
        self.socket.settimeout(0.2)
        self.endpoint = (self.address, self.port)
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.process.poll() is None:
                self.until_safe()
        finally:
            self.off()
            self.socket.close()

    def off(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(PATIENCE)

    @property
    def log(self):
        """Whole lines, without their times."""
        return [line[11:] for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    @property
    def changes(self):
        """`driven` and `safe` in turn."""
        return [word for word in (line.split(":")[0] for line in self.log) if word in ("driven", "safe")]

    def send(self, raw, via=None):
        (via or self.socket).sendto(raw, self.endpoint)

    def query(self):
        """Its state now, asked from its own machine, so that no cable matters."""
        def answer():
            self.send(datagram(QUERY))
            try:
                return State(self.socket.recv(1000))
            except socket.timeout:
                return None
        while True:
            found = wait_for(answer, "the device answers")
            if found.sequence == 0:
                return found

    def until(self, condition, what):
        """Asks until its state is as wanted."""
        last = []

        def look():
            last[:] = [self.query()]
            return last[0] if condition(last[0]) else None
        return wait_for(look, lambda: f"{what}; the device is {last}, it said:\n{self.path.read_text()}")

    def until_driven(self):
        return self.until(lambda state: state.driven, "the device is driven")

    def until_taken(self, session, sequence):
        return self.until(lambda state: (state.session, state.accepted) == (session, sequence),
                          f"command {sequence} of session {session} is taken")

    def until_safe(self):
        found = self.until(lambda state: not state.driven, "the device is safe")
        assert found.drive == 0.0
        return found

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)
        status = pathlib.Path(f"/proc/{self.process.pid}/stat")
        wait_for(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "the device stands still")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


# ---- The simulation ----------------------------------------------------------------------------------------------

class Simulation:
    """Examples/hil in the background, against a device. At the end everything of it is gone, or the test fails."""

    def __init__(self, folder, endpoint, *arguments, machine=None, config="one_host.yaml", stale_ms=50):
        self.name, self.machine = f"hil-{os.getpid()}-{next(COUNTER)}", machine or Machine()
        self.folder = folder / self.name
        shutil.copytree(HIL, self.folder)
        (self.folder / "bridge.conf").write_text("device %s %d\nstale_ms %g\n" % (*endpoint, stale_ms))
        self.record, self.summary_path = folder / f"{self.name}.csv", folder / f"{self.name}.json"
        self.said_path = folder / f"{self.name}.said"
        self.words = [str(HERMES), "run", str(self.folder / config), "--name", self.name, "--record", str(self.record),
                      "--summary", str(self.summary_path), *map(str, arguments)]

    def __enter__(self):
        assert HERMES.exists(), f"{HERMES} is not built; run `make build`, or name another in HERMES_BIN"
        with open(self.said_path, "wb") as said:
            self.process = subprocess.Popen([*self.machine.prefix(), *self.words], stdin=subprocess.DEVNULL,
                                            stdout=said, stderr=said)
        return self

    def __exit__(self, kind, *_):
        for pid in self.processes().values():
            send(pid, signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
            wait_for(lambda: not self.processes(), lambda: f"{self.processes()} are left")
        except BaseException:
            self.process.kill()
            self.process.wait()
            for pid in self.processes().values():
                send(pid, signal.SIGKILL)
            if kind is None:
                raise

    @property
    def said(self):
        return self.said_path.read_text(errors="replace")

    @property
    def summary(self):
        return json.loads(self.summary_path.read_text())

    @property
    def recording(self):
        return Recording(self.record)

    def processes(self):
        """Pids by name: `hermes`, `keeper` and the modules; what has exited is not there."""
        found = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            proc = pathlib.Path("/proc", entry)
            try:
                if proc.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                environment = proc.joinpath("environ").read_bytes().decode(errors="replace").split("\0")
                words = proc.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
                thread = proc.joinpath("comm").read_text().strip()
            except OSError:
                continue
            if f"HERMES_SHM=/hermes_{self.name}" in environment:
                module = next(each for each in environment if each.startswith("HERMES_MODULE="))
                found[module.partition("=")[2]] = int(entry)
            elif self.name in words and "run" in words:
                found["keeper" if thread == "hermes-keeper" else "hermes"] = int(entry)
        return found

    def command(self, verb, *words):
        return subprocess.run([str(HERMES), verb, self.name, *map(str, words)], capture_output=True, text=True)

    def values(self, *names):
        """By name, all of one frame; None while it stages."""
        done = self.command("get", *names, "--format", "json")
        if done.returncode == 0:
            return json.loads(done.stdout)["values"]
        if self.process.poll() is not None:
            pytest.fail(f"the simulation ended (exit code {self.process.returncode}):\n{self.said}")
        return None

    def until(self, condition, what, *names):
        """Reads signals until they are as wanted."""
        last = []

        def look():
            last[:] = [self.values(*names)]
            return last[0] if last[0] and condition(*last[0].values()) else None
        return wait_for(look, lambda: f"{what}; last values {last}")

    def until_stale(self, stale=True):
        return self.until(lambda value: value == stale, f"stale is {stale}", "bridge.stale")

    def until_on_target(self):
        return self.until(lambda stale, driven, speed, target: not stale and driven and speed > 20
                          and math.fabs(speed - target) < 5, "the motor follows its target",
                          "bridge.stale", "bridge.driven", "bridge.speed", "controller.target")

    def finish(self):
        """Waits for its end by itself: the exit code."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"hermes run does not end:\n{self.said}")


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
