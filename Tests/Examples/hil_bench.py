"""What the tests of Examples/hil stand on: the device as a process, its protocol written a second time from the table
in the example's README, cables that can be pulled, and the simulation in the background."""

import contextlib
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


class Network:
    """Machines by name, with the cables of Examples/hil/run between them. Loopback: all of them are this machine."""

    CABLES = {
        ("desk", "lab"): ("10.77.1.1", "10.77.1.2"), ("desk", "rack"): ("10.77.2.1", "10.77.2.2"),
        ("lab", "rack"): ("10.77.3.1", "10.77.3.2"), ("lab", "device"): ("10.77.4.1", "10.77.4.2"),
        ("desk", "device"): ("10.77.4.1", "10.77.4.2"),
    }

    def __init__(self, *cables):
        """Cables are pairs of names; none for loopback."""
        self.cables = cables
        self.stem = f"hermes-hil-{os.getpid()}-{next(COUNTER)}"
        self.machines = {}

    def __enter__(self):
        try:
            for name in dict.fromkeys(itertools.chain(*self.cables)):
                ip("netns", "add", f"{self.stem}-{name}")
                self.machines[name] = Machine(f"{self.stem}-{name}")
                ip("-n", f"{self.stem}-{name}", "link", "set", "lo", "up")
            for ends in self.cables:
                one, other = (self.machines[name].name for name in ends)
                ip("link", "add", "name", ends[1], "netns", one, "type", "veth", "peer", "name", ends[0], "netns", other)
                for machine, end, address in zip((one, other), reversed(ends), self.CABLES[ends]):
                    ip("-n", machine, "address", "add", f"{address}/24", "dev", end)
                    ip("-n", machine, "link", "set", end, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for machine in self.machines.values():
            ip("netns", "del", machine.name)

    def __getitem__(self, name):
        return self.machines.get(name, Machine())

    def address(self, name, seen_from):
        for ends, addresses in self.CABLES.items():
            if ends in self.cables and set(ends) == {name, seen_from}:
                return addresses[ends.index(name)]
        return "127.0.0.1"

    def pull(self, one, other):
        ip("-n", self.machines[one].name, "link", "set", other, "down")

    def plug(self, one, other):
        ip("-n", self.machines[one].name, "link", "set", other, "up")


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


# ---- Nodes -------------------------------------------------------------------------------------------------------

NODE = HERMES.parent / "hermes-node"
needs_nodes = pytest.mark.skipif(not NODE.exists(), reason=f"no {NODE}: nothing over several hosts is tested")

PORTS = itertools.count(20_000 + os.getpid() % 400 * 20, 10)


def free_port():
    """One that nobody listens on; the nine behind it are for runs."""
    while True:
        port = next(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def make_key(path):
    """A key pair; the path of its secret half."""
    if not path.exists():
        done = subprocess.run([HERMES, "keygen", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return path


def public(key):
    return key.with_name(key.name + ".pub")


class Node:
    """A hermes-node with keys, and a module root of its own; for host `lab` or `rack`."""

    def __init__(self, folder, host, network):
        self.host, self.machine = host, network[host]
        self.root = folder / f"{host}-root"
        self.key, desk = (make_key(folder / name) for name in (host, "desk"))
        self.accepts = public(desk)
        self.log = folder / f"{host}.log"
        self.port = free_port()
        self.endpoint = f"tcp://{network.address(host, 'desk')}:{self.port}"
        self.mirror = f"tcp://{network.address('lab', 'rack')}"
        self.listen = f"tcp://{'0.0.0.0' if self.machine.name else '127.0.0.1'}:{self.port}"

    def __enter__(self):
        self.root.mkdir(mode=0o755)
        self.start()
        return self

    def __exit__(self, *_):
        send(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.machine.prefix(), NODE, "--listen", self.listen, "--ports", f"{self.port + 1}-{self.port + 9}",
                 "--modules", self.root, "--key", self.key, "--accept", self.accepts],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.process.poll() is not None or "listening" in self.log.read_text(), "the node listens")
        assert self.process.poll() is None, self.log.read_text()


# ---- The simulation ----------------------------------------------------------------------------------------------

class Simulation:
    """Examples/hil in the background, against a device; with nodes, hil.yaml over them, else one_host.yaml. At the end
    everything of it is gone, or the test fails."""

    def __init__(self, folder, endpoint, *arguments, machine=None, nodes=(), stale_ms=50):
        self.name, self.machine, self.nodes = f"hil-{os.getpid()}-{next(COUNTER)}", machine or Machine(), nodes
        self.folder = folder / self.name
        self.seen = {}
        shutil.copytree(HIL, self.folder)
        settings = "device %s %d\nstale_ms %g\n" % (*endpoint, stale_ms)
        (self.folder / "bridge.conf").write_text(settings)
        self.record, self.summary_path = folder / f"{self.name}.csv", folder / f"{self.name}.json"
        self.said_path = folder / f"{self.name}.said"
        self.words = [str(HERMES), "run", str(self.folder / "one_host.yaml"), "--name", self.name,
                      "--record", str(self.record), "--summary", str(self.summary_path), *map(str, arguments)]
        if nodes:
            self.words[2] = str(self.folder / "hil.yaml")
            self.words += ["--key", str(nodes[0].accepts.with_suffix(""))]
            self.spread()

    def spread(self):
        """Puts the nodes' endpoints and keys into hil.yaml, and each module beneath its node's root."""
        config = self.folder / "hil.yaml"
        text = config.read_text()
        for node in self.nodes:
            entry = (f'  {node.host}: {{ endpoint: "{node.endpoint}", mirror: "{node.mirror}", '
                     f'key: "{public(node.key).read_text().strip()}" }}\n')
            text, count = re.subn(rf'^  {node.host}:\n(    .*\n)+', lambda _: entry, text, count=1, flags=re.MULTILINE)
            assert count == 1
            (node.root / "build").mkdir(exist_ok=True)
            for name in ("build/bridge", "build/controller", "bridge.conf"):
                shutil.copy2(self.folder / name, node.root / name)
        config.write_text(text)

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
            self.until_gone()
        except BaseException:
            self.process.kill()
            self.process.wait()
            for pid in self.processes().values():
                send(pid, signal.SIGKILL)
            if kind is None:
                raise

    @property
    def said(self):
        nodes = "".join(f"--- {node.host} said:\n{node.log.read_text()}" for node in self.nodes)
        return self.said_path.read_text(errors="replace") + nodes

    @property
    def summary(self):
        return json.loads(self.summary_path.read_text())

    @property
    def recording(self):
        return Recording(self.record)

    def processes(self):
        """Pids by name: `hermes`, `keeper`, the modules, and of each node `lab.worker` and `lab.keeper`. Not the nodes
        themselves, which outlive it, nor what has exited. A process that lost its parent is known from earlier looks."""
        everything = processes_here()
        parents = {node.process.pid: node.host for node in self.nodes}
        for pid, each in everything.items():
            name = None
            if each.environment.get("HERMES_SHM", "").partition(".")[0] == f"/hermes_{self.name}":
                name = each.environment["HERMES_MODULE"]
            elif self.name in each.words and "run" in each.words:
                name = "keeper" if each.thread == "hermes-keeper" else "hermes"
            elif each.parent in parents:
                name = f"{parents[each.parent]}.worker"
            elif each.thread == "hermes-keeper" and each.parent in everything:
                host = parents.get(everything[each.parent].parent)
                name = host and f"{host}.keeper"
            if name:
                self.seen[name] = (pid, each.began)
        return {name: pid for name, (pid, began) in self.seen.items()
                if pid in everything and everything[pid].began == began}

    def pid(self, name):
        """Of one of its processes, or of the node of that name."""
        found = {**{node.host: node.process.pid for node in self.nodes}, **self.processes()}
        return found[name]

    def until_gone(self):
        wait_for(lambda: not self.processes(), lambda: f"{self.processes()} are left")

    def command(self, verb, *words):
        return subprocess.run([str(HERMES), verb, self.name, *map(str, words)], capture_output=True, text=True)

    def values(self, *names):
        """By name, from the segments of all its hosts; None while one is not there."""
        found = {}
        for path in pathlib.Path("/dev/shm").glob(f"hermes_{self.name}*"):
            if path.name.partition(".")[0] == f"hermes_{self.name}":
                found.update(segment_values(path))
        if all(name in found for name in names):
            return {name: found[name] for name in names}
        if self.process.poll() is not None:
            pytest.fail(f"the simulation ended (exit code {self.process.returncode}):\n{self.said}")
        return None

    def until(self, condition, what, *names):
        """Reads signals until they are as wanted."""
        last = []

        def look():
            last[:] = [self.values(*names)]
            return last[0] if last[0] and condition(*last[0].values()) else None
        return wait_for(look, lambda: f"{what}; last values {last}\n{self.said}")

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


class Bench:
    """The whole example: the device, for three hosts the nodes `lab` and `rack`, and simulations against them; with
    `cables` each machine is a network namespace, else all meet on loopback."""

    def __init__(self, folder, hosts=1, cables=False):
        self.folder, self.hosts = folder, hosts
        three = (("desk", "lab"), ("desk", "rack"), ("lab", "rack"), ("lab", "device"))
        self.network = Network(*(() if not cables else three if hosts == 3 else (("desk", "device"),)))
        self.beside = "lab" if hosts == 3 else "desk"

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.network)
            address = self.network.address("device", self.beside)
            self.device = stack.enter_context(Device(self.folder, self.network["device"], address))
            self.nodes = [stack.enter_context(Node(self.folder, host, self.network))
                          for host in ("lab", "rack") if self.hosts == 3]
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        return self.stack.__exit__(*failure)

    def simulation(self, *arguments):
        return Simulation(self.folder, self.device.endpoint, *arguments, machine=self.network["desk"], nodes=self.nodes)


def segment_values(path):
    """Signals by name, read as docs/segment.md says: header, directory, names, 8 bytes a value."""
    try:
        raw = path.read_bytes()
        magic, _, _, _, count = struct.unpack_from("<IIQdI", raw)
    except (OSError, struct.error):
        return {}
    values = {}
    for entry in range(count if magic == 0x4845524D else 0):
        name_at, value_at, kind = struct.unpack_from("<IIB", raw, 64 + 12 * entry)
        name = raw[name_at:raw.index(b"\0", name_at)].decode()
        values[name] = struct.unpack_from(("<d", "<f", "<q", "<i", "<?")[kind], raw, value_at)[0]
    return values


class Process:
    def __init__(self, proc):
        status = proc.joinpath("stat").read_text().rpartition(")")[2].split()
        if status[0] == "Z":
            raise ProcessLookupError
        self.parent, self.began = int(status[1]), status[19]
        environment = proc.joinpath("environ").read_bytes().decode(errors="replace").split("\0")
        self.environment = dict(each.split("=", 1) for each in environment if "=" in each)
        self.words = proc.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        self.thread = proc.joinpath("comm").read_text().strip()


def processes_here():
    """Everything that lives, by pid."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[int(entry)] = Process(pathlib.Path("/proc", entry))
        except OSError:
            continue
    return found


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
