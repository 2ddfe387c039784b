"""Nodes on this machine: a `hermes-node` process for each host, with a port range and a module root of its own."""
import os
import random
import socket
import subprocess
import sys

from conftest import HERMES, LIBRARY, REPOSITORY, wait_for

NODE = HERMES.with_name("hermes-node")
PORTS = 5
"""How many ports a node has, its own included; a run takes one."""


def free_ports():
    """The first of PORTS free ports in a row, below those that the kernel gives to whoever asks."""
    for _ in range(200):
        first = random.randrange(20000, 32000)
        try:
            for port in range(first, first + PORTS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise AssertionError("no free ports")


class Node:
    """A `hermes-node` at work. Its folder becomes the module root; `transport` is tcp or ipc."""

    def __init__(self, host, folder, transport="tcp", *arguments, prefix=(), environment=None):
        self.host, self.root = host, folder / "root"
        self.root.mkdir(mode=0o755)
        self.log = folder / "log"
        for _ in range(5):
            ports = []
            if transport == "tcp":
                first = free_ports()
                self.endpoint = f"tcp://127.0.0.1:{first}"
                ports = ["--ports", f"{first + 1}-{first + PORTS - 1}"]
            else:
                self.endpoint = f"ipc://{folder}/socket"
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    [*prefix, NODE, "--listen", self.endpoint, "--modules", self.root, *ports, *arguments], stdout=log,
                    stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
            if wait_for(lambda: "listening on" in self.said or self.process.poll() is not None and "over", f"{host} listens") is True:
                return
            # Somebody was quicker to take the port.
            assert "is taken" in self.said, f"hermes-node ended with {self.process.returncode}\n{self.said}"
        raise AssertionError("every port is taken")

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        self.process.terminate()
        try:
            assert self.process.wait(20) == 0, self.said
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def write_there(simulation, host, values):
    """Sets signals through the segment of a host, as a script there does: {"m.s": number}, all in one call."""
    script = "import sys\nfrom hermes.scripting import SimulationAPI\nnan, inf = float('nan'), float('inf')\n" \
             "with SimulationAPI(sys.argv[1]) as sim: sim.inject(eval(sys.argv[2]))\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, f"/hermes_{simulation}.{host}" if host else f"/hermes_{simulation}", repr(values)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "Sources/Python"), "HERMES_LIBRARY": str(LIBRARY / "libhermes.so")},
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
