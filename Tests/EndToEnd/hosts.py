"""Simulations over several hosts on this machine: `hermes-node` processes with module roots of their own, and what to run
on them.

HERMES_NODE_BIN   the hermes-node binary (default: beside hermes)
"""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import HERE, HERMES, PATIENCE, Running, environ, kill_all, processes_of, shared_memory, wait_for
from ports import BLOCKS, PORTS_OF_A_NODE
from zmtp import write_keys

NODE = Path(os.environ.get("HERMES_NODE_BIN", HERMES.parent / "hermes-node")).absolute()
LIVENESS = 2.0
"""Seconds after which a silent host counts as lost (the default)."""


class Keys:
    """A key pair in files, as a node and `--key` want it."""

    def __init__(self, folder, name):
        self.path = folder / f"{name}.key"
        self.public = write_keys(self.path)
        self.public_file = Path(f"{self.path}.pub")


class Node:
    """A hermes-node. What it starts inherits a word in its environment, by which everything of it is found."""

    def __init__(self, desk, name, address="127.0.0.1", port=None, path=None, keys=None, accept=None, mirror=None, prefix=()):
        self.desk, self.name, self.keys, self.accept, self.mirror, self.prefix = desk, name, keys, accept, mirror, tuple(prefix)
        self.port = port or (None if path else next(BLOCKS))
        self.endpoint = f"ipc://{path}" if path else f"tcp://{address}:{self.port}"
        self.ports = range(self.port + 1, self.port + PORTS_OF_A_NODE) if self.port else ()
        self.root = desk.folder / f"root-{name}"
        self.root.mkdir(mode=0o755)
        self.log = desk.folder / f"node-{name}.log"
        self.tag = f"{desk.name}-node-{name}"
        self.process = None

    def words(self, *extra):
        words = [*self.prefix, str(NODE), "--listen", self.endpoint, "--modules", str(self.root)]
        if self.ports:
            words += ["--ports", f"{self.ports[0]}-{self.ports[-1]}"]
        if self.keys:
            words += ["--key", str(self.keys.path), "--accept", str(self.accept)]
        return [*words, *map(str, extra)]

    def start(self, *extra):
        """Starts it and waits until it listens."""
        return self.launch(*extra).listens()

    def launch(self, *extra):
        if not os.access(NODE, os.X_OK):
            pytest.fail(f"no hermes-node at {NODE}; build it or set HERMES_NODE_BIN", pytrace=False)
        self.listened = self.said.count("listening on")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.words(*extra), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.desk.folder, env={**self.desk.environment, "E2E_NODE": self.tag})
        return self

    def listens(self):
        def look():
            assert self.process.poll() is None, f"hermes-node ended\n{self.said}"
            return self.said.count("listening on") > self.listened
        wait_for(look, f"node {self.name} listens")
        return self

    @property
    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def says(self, *words, seconds=PATIENCE):
        """Waits until one line of its log has all these words, and returns it."""
        def found():
            return next((line for line in self.said.splitlines() if all(str(word) in line for word in words)), None)
        return wait_for(found, f"node {self.name} says {words}; so far:\n{self.said}", seconds)

    def processes(self):
        """What it started and what those started, zombies aside."""
        own = self.process.pid if self.process else 0
        return [int(pid) for pid in os.listdir("/proc")
                if pid.isdigit() and int(pid) != own and environ(pid).get("E2E_NODE") == self.tag]

    def workers(self):
        """The processes it runs simulations in, one each."""
        return [pid for pid in self.processes() if command_line(pid)[1:] == ["--worker"] and comm(pid) != "hermes-keeper"]

    def worker(self):
        (only,) = self.workers()
        return only

    def rests(self, seconds=PATIENCE):
        """Waits until nothing of any run is left there."""
        wait_for(lambda: not self.processes(), f"node {self.name} has ended its runs; it said:\n{self.said}", seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"node {self.name} did not end on SIGTERM; it said:\n{self.said}")

    def resident(self):
        """Bytes of its memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def comm(pid):
    """What a process calls itself."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Placed(str):
    """A module's settings as they stand in the configuration, but for its host."""


FINE = "signal x\nterminate write {ends}"
FORMULA = Placed("{ type: process, executable: ./formula, config: ./{module}.formula{host} }")
FORMULAS = {
    "one": "signal in f64 input = 1\nsignal out f64 output = 0\nstate sum = 0\nsum = sum + in * 0.3\nout = sum max -1e6 min 1e6 - in\n",
    "two": "signal in f64 input = 0.5\nsignal out f64 output = 0\nout = in * 0.7 + n / 3\n",
    "three": "signal in f32 input = 0\nsignal out f64 output = 2\nsignal noise i64 output = 1\nnoise = mix noise n\nout = in * -0.9 + time\n",
}
RING = [("one.out", "two.in"), ("two.out", "three.in"), ("three.out", "one.in")]
"""A ring through three modules: whatever one of them gets wrong shows in all of them."""
REFERENCES = {}


class Hosts:
    """Nodes named a, b, c... and the simulations that run on them."""

    def __init__(self, desk):
        self.desk = desk
        self.nodes = {}
        self.key = None
        self.ends = desk.folder / "ends"
        self.furnish(desk.folder)

    def furnish(self, folder):
        """The modules every host has."""
        for source in ("formula", "trouble"):
            shutil.copy2(self.desk.built(HERE / "modules" / f"{source}.c"), folder / source)
        for module, text in FORMULAS.items():
            (folder / f"{module}.formula").write_text(text)

    def add(self, name, **how):
        """A node that is not started yet."""
        node = self.nodes[name] = Node(self.desk, name, **how)
        self.furnish(node.root)
        return node

    def start(self, names="abc", **how):
        for node in [self.add(name, **how).launch() for name in names]:
            node.listens()
        return self

    def __getitem__(self, name):
        return self.nodes[name]

    def entry(self, node):
        """A host as it stands in the configuration."""
        key = f', key: "{node.keys.public}"' if node.keys else ""
        mirror = f', mirror: "{node.mirror}"' if node.mirror else ""
        return f'{{ endpoint: "{node.endpoint}"{key}{mirror} }}'

    def config(self, modules, wiring=(), name=None, hosts=None, file=None, **execution):
        """`modules`: name to (host or None, the text of its trouble file or its Placed settings)."""
        lines = ["version: '0.2'", f"name: {name or self.desk.name}"]
        used = {host for host, _ in modules.values() if host}
        if used:
            lines.append("hosts:")
            lines += [f"  {host}: {(hosts or {}).get(host) or self.entry(self.nodes[host])}" for host in sorted(used)]
        lines.append("modules:")
        for module, (host, what) in modules.items():
            folder = self.nodes[host].root if host in self.nodes else self.desk.folder
            if isinstance(what, Placed):
                settings = what.replace("{module}", module)
            else:
                (folder / f"{module}.trouble").write_text(what.replace("{ends}", str(self.ends)) + "\n")
                settings = f"{{ type: process, executable: ./trouble, config: ./{module}.trouble{{host}} }}"
            lines.append(f"  {module}: " + settings.replace("{host}", f", host: {host}" if host else ""))
        if wiring:
            lines.append("wiring:")
            lines += [f"  - {{ src: {src}, dst: {dst} }}" for src, dst in wiring]
        lines.append("execution:")
        lines += [f"  {key}: {value}" for key, value in {"mode": "afap", "rate_hz": 100, **execution}.items()]
        return self.desk.write(f"{file or name or 'sim'}.yaml", "\n".join(lines) + "\n")

    # ---- A run that must come right

    def ring(self, places="abc", **how):
        """The ring, its modules on these hosts; - is the desk."""
        modules = {module: (None if host == "-" else host, FORMULA) for module, host in zip(FORMULAS, places)}
        return self.config(modules, RING, **{"end_time": 1, "file": f"ring-{''.join(places)}", **how})

    @property
    def keyed(self):
        return ["--key", self.key.path] if self.key else []

    def run(self, config, *args, **how):
        return self.desk.run(config, *self.keyed, *args, **{"record": False, **how})

    def serves(self, places=None, name=None):
        """The ring on these hosts (all of them, round and round) gives the same digest as on the desk alone."""
        places = places or "".join((list(self.nodes) * 3)[:3])
        name = name or f"{self.desk.name}-ring"
        done = self.run(self.ring(places, name=name), "--digest").expect(0)
        assert done.stdout == self.reference(), done.said
        for node in self.nodes.values():
            if node.process and node.process.poll() is None:
                node.rests()

    def reference(self, end_time=1):
        """What `--digest` prints for the ring on the desk alone, whatever its name."""
        if end_time not in REFERENCES:
            config = self.ring("---", name=f"{self.desk.name}-alone", end_time=end_time)
            REFERENCES[end_time] = self.desk.run(config, "--digest", record=False).expect(0).stdout
        return REFERENCES[end_time]

    # ---- A run to which something happens

    def live(self, modules=None, *args, wiring=(), watched="abc", mode="realtime", record=True, **how):
        """A simulation that goes on until it is ended, at a pace that leaves the machine free. On each of the watched hosts
        a module notes its terminate(), and a ring of formulas ties the hosts together."""
        everything = {f"watch_{host}": (host, FINE) for host in watched}
        places = (watched * 3)[:3]
        everything.update({module: (host, FORMULA) for module, host in zip(FORMULAS, places)})
        everything.update(modules or {})
        config = self.config(everything, [*RING, *wiring], mode=mode, **how)
        return Running(self.desk, config, *self.keyed, *args, record=record)

    @property
    def ended(self):
        """The modules whose terminate() was called."""
        return {line.split()[0] for line in self.ends.read_text().splitlines()} if self.ends.exists() else set()

    def all_ended(self, *modules, seconds=PATIENCE):
        """Waits until terminate() of these modules was called, and of no other."""
        wait_for(lambda: self.ended >= set(modules), f"terminate() of {modules}; called: {self.ended}", seconds)
        assert self.ended == set(modules)

    def rest(self, seconds=PATIENCE):
        """Waits until no process, segment or folder of this test's runs is left, the nodes themselves aside."""
        for node in self.nodes.values():
            node.rests(seconds)
        wait_for(lambda: not processes_of(self.desk.name), "no module left", seconds)
        left = lambda: [path.name for path in shared_memory() if self.desk.name in path.name]
        wait_for(lambda: not left(), f"nothing left in /dev/shm; there is {left()}", seconds)

    def close(self):
        """Every node that is still there ends by SIGTERM with 0 and leaves nothing."""
        codes = {}
        try:
            for name, node in self.nodes.items():
                if node.process and node.process.poll() is None:
                    codes[name] = node.end()
            for node in self.nodes.values():
                node.rests(10)
        finally:
            for node in self.nodes.values():
                kill_all(node.processes())
        assert all(code == 0 for code in codes.values()), f"{codes}\n" + "\n".join(n.said for n in self.nodes.values())


def error_line(done):
    """The one line that says why a run ended."""
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1, f"one error line expected\n{done.stderr}"
    return lines[0]


@pytest.fixture
def hosts(desk):
    """Hosts without nodes: `hosts.start()` gives three. At the end every node still there must end by SIGTERM with 0."""
    made = Hosts(desk)
    yield made
    made.close()
