"""Real hermes-nodes on loopback, each with a module root of its own beneath the test's folder.

    def test_two_hosts(desk, nodes):
        bench = nodes.start("bench")                  # listens when this returns
        bench.module("formula")                       # a compiled module into its root
        desk.run(f"version: '0.2'\n{nodes.hosts}...")  # `hosts:` with every node started
    keys: nodes.start("bench", keys=True), then desk.run(config, "--key", nodes.key)

At the end of the test every node gets SIGTERM, must exit with 0, and must leave no process behind. A test that ends one
itself uses `stop`, `kill` or `fell`. HERMES_NODE_BIN names another binary than the hermes-node beside hermes.
"""
import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import HERE, HERMES, SESSION, environ, kill_all, wait_for
from ports import BLOCKS, PORTS_OF_A_NODE

NODE = Path(os.environ.get("HERMES_NODE_BIN", HERMES.parent / "hermes-node")).absolute()
MARK = "HERMES_TEST_NODE"
"""Stands in the environment of a node and of everything it starts."""
COUNTER = itertools.count(1)


def is_listening(pid, port):
    """As the system sees it, in the network namespace of `pid`: a connection would count as rubbish with the node."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        if any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines):
            return True
    return False


def marked(mark):
    """Processes, zombies aside, that a node started, itself included."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and environ(entry).get(MARK) == mark]


class Node:
    """One hermes-node. `root` is its module root, `port` where it listens, `host` its entry in `hosts:`."""

    def __init__(self, nodes, name, arguments, keys, listen):
        self.nodes, self.name, self.arguments = nodes, name, [str(word) for word in arguments]
        self.mark = f"{SESSION}-{next(COUNTER)}"
        self.root = nodes.folder / name
        self.root.mkdir(parents=True)
        self.root.chmod(0o755)
        self.err = nodes.folder / f"{name}.stderr"
        self.listen, self.port, self.process = listen, None, None
        self.key = nodes.keygen(name) if keys else None

    @property
    def endpoint(self):
        return self.listen or f"tcp://127.0.0.1:{self.port}"

    @property
    def public_key(self):
        return self.key and Path(f"{self.key}.pub").read_text().strip()

    @property
    def host(self):
        key = f', key: "{self.public_key}"' if self.key else ""
        return f'{self.name}: {{ endpoint: "{self.endpoint}"{key} }}'

    @property
    def words(self):
        words = [str(NODE), "--listen", self.endpoint, "--modules", str(self.root)]
        if not self.listen:
            words += ["--ports", f"{self.port + 1}-{self.port + PORTS_OF_A_NODE - 1}"]
        if self.key:
            words += ["--key", str(self.key), "--accept", f"{self.nodes.key}.pub"]
        return words + self.arguments

    def start(self, wait=True):
        """Starts it; again at the same port when it ran before. With `wait` returns when it listens."""
        keeps_port = self.port is not None
        for _ in range(5):
            if not self.listen and not keeps_port:
                self.port = next(BLOCKS)
            with open(self.err, "ab") as err:
                self.process = subprocess.Popen(self.words, stdout=err, stderr=err, stdin=subprocess.DEVNULL, cwd=self.root,
                                                env={**self.nodes.environment, MARK: self.mark})
            if not wait or wait_for(lambda: self.is_listening or self.process.poll() is not None, f"{self.name} listens") and \
                    self.process.poll() is None:
                return self
            if keeps_port or self.listen or "taken" not in self.log:
                break
        pytest.fail(f"{' '.join(self.words)}: exit {self.process.returncode}\n{self.log}")

    @property
    def is_listening(self):
        if self.listen and self.listen.startswith("ipc://"):
            return Path(self.listen[6:]).is_socket()
        return is_listening(self.process.pid, self.port)

    @property
    def log(self):
        return self.err.read_text(errors="replace") if self.err.exists() else ""

    def says(self, *words):
        """Waits until one line of its log has all these words, and returns it."""
        def found():
            return next((line for line in self.log.splitlines() if all(str(word) in line for word in words)), None)
        return wait_for(found, f"a line of {self.name} with {words}")

    def module(self, source, shared=False, to=None):
        """Puts a compiled module from modules/ into the root."""
        target = self.root / (to or source + (".so" if shared else ""))
        if not target.exists():
            shutil.copy2(self.nodes.desk.built(HERE / "modules" / f"{source}.c", shared), target)
        return target

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    @property
    def others(self):
        """What it has started and is still there: processes of runs, their keepers and modules."""
        return [pid for pid in marked(self.mark) if pid != self.process.pid]

    def stop(self, code=0):
        """In order; nothing of it may be left."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end on SIGTERM\n{self.log}", pytrace=False)
        ended, self.process = self.process, None
        assert ended.returncode == code, f"{self.name}: exit {ended.returncode}\n{self.log}"
        wait_for(lambda: not marked(self.mark), f"all that {self.name} started is gone; it said\n{self.log}", 10)

    def kill(self, number=signal.SIGKILL):
        """As a crash does; what it started must be gone soon."""
        self.process.send_signal(number)
        self.process.wait(20)
        self.process = None
        wait_for(lambda: not marked(self.mark), f"all that {self.name} started is gone after its death\n{self.log}")

    def fell(self):
        """For the end of a test that failed: without regard to anything."""
        kill_all(marked(self.mark))
        if self.process:
            self.process.wait()
            self.process = None


class Nodes:
    """The nodes of a test; conftest.py has the fixture."""

    def __init__(self, desk):
        if not os.access(NODE, os.X_OK):
            pytest.fail(f"no hermes-node at {NODE}; build it or set HERMES_NODE_BIN", pytrace=False)
        self.desk, self.environment = desk, desk.environment
        self.folder = desk.folder / "nodes"
        self.keys = desk.folder / "keys"
        self.all = {}

    def start(self, name, *arguments, keys=False, listen=None, wait=True):
        """A node called `name`. `keys`: it has a key of its own and accepts `self.key`. `listen`: another endpoint than a
        port of its own on loopback."""
        node = self.all[name] = Node(self, name, arguments, keys, listen)
        return node.start(wait)

    @property
    def hosts(self):
        """The `hosts:` of a configuration, every node in it, with an end of line."""
        return "hosts:\n" + "".join(f"  {node.host}\n" for node in self.all.values())

    @property
    def key(self):
        """The coordinator's secret key; its public key is beside it with .pub."""
        return self.keygen("desk")

    def keygen(self, name):
        path = self.keys / f"{name}.key"
        if not path.exists():
            self.keys.mkdir(exist_ok=True)
            self.desk.command("keygen", path).expect(0)
        return path

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            for node in self.all.values():
                node.stop()
        finally:
            for node in self.all.values():
                node.fell()
