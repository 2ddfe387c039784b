"""Many hosts on one machine: nodes on loopback ports, and simulations over them.

The simulation is a ring: on each host a module with as many inputs as outputs, the outputs wired to the inputs of the
next host's module (of two hosts each has the other for both). bench/modules/neighbour.c says what it computes, and
bench/zmq_floor.c does the same in bare ZeroMQ.
"""

import json
import os
import resource
import socket
import subprocess
import time
from pathlib import Path

from processes import Failed, children_of, compile_c, cpu_ticks, end_with_parent, resident_mb, run_checked

ROOT = Path(__file__).resolve().parent.parent
FIRST_PORT, PORTS_EACH, LAST_PORT = 21000, 10, 32000  # below those that the kernel hands out by itself
READY_SECONDS = 30
COULD_NOT_LISTEN = 2  # the exit code
LIMIT = 4503599627370449  # as in bench/modules/neighbour.c


# ---- The programs.


def compile_floor(folder):
    program = folder / "zmq_floor"
    compile_c(ROOT / "bench" / "zmq_floor.c", program, "-lzmq", "-pthread")
    return program


def neighbour(signals, lasting):
    """The program of a ring's modules; `lasting`: of those whose step lasts."""
    return f"neighbour_{signals}_us" if lasting else f"neighbour_{signals}"


def compile_neighbour(folder, signals, sleep_us=0):
    lasts = [f"-DNEIGHBOUR_SLEEP_NS={1000 * sleep_us}"] if sleep_us else []
    compile_c(ROOT / "bench" / "modules" / "neighbour.c", folder / neighbour(signals, sleep_us > 0),
              f"-DNEIGHBOUR_COUNT={signals}", *lasts, "-I", ROOT / "include", ROOT / ".build" / "lib" / "libhermes.a",
              "-pthread", "-ldl", "-lm")


def run_floor(program, hosts, signals, frames, grant=1, modules=1, rate=None):
    """One line of bench/zmq_floor.c, as a dictionary; besides, what all processes of a host take together. rate: of grants
    a second; None: as fast as they come."""
    words = [hosts, signals, frames, grant, modules, *([] if rate is None else [rate])]
    line = json.loads(run_checked([str(program), *map(str, words)]))
    line["host_cpu_s_per_frame"] = line["node_cpu_s_per_frame"] + modules * line["module_cpu_s_per_frame"]
    return line


# ---- Nodes.


class Nodes:
    """`count` nodes, each on a port of its own, with `folder` as their module root. Ended in any case.

    Off loopback, at `address`, they and the coordinator know each other by keys."""

    def __init__(self, hermes, folder, count, execution=None, address="127.0.0.1"):
        self.address = address
        self.execution = execution or {}  # of every simulation over them, as `execution:` has it
        self.program = hermes.with_name("hermes-node")
        if not self.program.exists():
            raise Failed(f"there is no hermes-node beside {hermes}: NOTHING over many hosts was measured")
        self.folder = folder
        self.count = count
        self.processes = []
        self.ports = []
        self.keys = {}  # by name, their files
        if address != "127.0.0.1":
            for name in ("desk", "node"):
                self.keys[name] = folder / f"{name}.key"
                if not self.keys[name].exists():
                    run_checked([str(hermes), "keygen", str(self.keys[name])])

    @property
    def public_key(self):
        return Path(f"{self.keys['node']}.pub").read_text().strip()

    def entry(self, index):
        """What stands in `hosts:`."""
        key = f', key: "{self.public_key}"' if self.keys else ""
        return f'endpoint: "tcp://{self.address}:{self.ports[index]}"{key}'

    def __enter__(self):
        try:
            for port in free_ports():
                if len(self.processes) == self.count:
                    break
                self.start(port)
            else:
                raise Failed(f"there are not {self.count * PORTS_EACH} free ports between {FIRST_PORT} and {LAST_PORT}")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def start(self, port):
        """Returns once the node says that it is ready, as it would say to systemd, or that somebody was faster here."""
        path = self.folder / f"ready-{port}"
        log = self.folder / f"node-{port}.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(log, "wb") as output:
            ready.bind(str(path))
            ready.settimeout(0.1)
            process = subprocess.Popen(
                [str(self.program), "--listen", f"tcp://{self.address}:{port}", "--modules", str(self.folder),
                 "--ports", f"{port + 1}-{port + PORTS_EACH - 1}", "-q",
                 *self.key_words("node", "--accept", f"{self.keys.get('desk')}.pub")],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=end_with_parent,
                env={**os.environ, "NOTIFY_SOCKET": str(path)})
            self.processes.append(process)
            self.ports.append(port)
            deadline = time.monotonic() + READY_SECONDS
            said = b""
            while b"READY=1" not in said.splitlines():
                try:
                    said = ready.recv(4096)
                except socket.timeout:
                    if process.poll() == COULD_NOT_LISTEN and not is_free(port):
                        self.processes.pop()
                        self.ports.pop()
                        break
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise Failed(f"hermes-node on port {port} did not get ready: {tail(log)}") from None
        path.unlink()

    def key_words(self, name, *more):
        return ["--key", str(self.keys[name]), *more] if self.keys else []

    def end(self):
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + 10
        for process in self.processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self):
        for process, port in zip(self.processes, self.ports):
            if process.poll() is not None:
                raise Failed(f"hermes-node on port {port} ended: {tail(self.folder / f'node-{port}.log')}")

    def cpu_seconds(self, count):
        """Processor time of the first `count` nodes and of all that they ran, together, to a tick of each."""
        self.await_idle()
        return sum(cpu_ticks(process.pid, ended=True) for process in self.processes[:count]) / os.sysconf("SC_CLK_TCK")

    def await_idle(self):
        """Until each node has seen its last run's processes end."""
        deadline = time.monotonic() + READY_SECONDS
        while any(children_of(process.pid) for process in self.processes):
            self.check()
            if time.monotonic() > deadline:
                raise Failed("a node still has processes of a run that is over")
            time.sleep(0.001)

    def cpu_ticks(self):
        self.await_idle()
        return [cpu_ticks(process.pid) for process in self.processes]

    def resident_mb(self):
        self.check()
        return [resident_mb(process.pid) for process in self.processes]


def free_ports():
    """Ports with the ports behind them free as well."""
    for first in range(FIRST_PORT, LAST_PORT, PORTS_EACH):
        if all(is_free(port) for port in range(first, first + PORTS_EACH)):
            yield first


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does: lately used is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def tail(file):
    return file.read_text(errors="replace")[-2000:].strip() or "it wrote nothing"


# ---- Simulations.


class Ring:
    """A ring over the first `hosts` of some nodes.

    modules         on each host; all but one of them are wired to nothing, unless `all_wired`
    all_wired       all modules of a host are in the ring, one after the other
    closed          False: the first module hears of nobody, so hosts only feed the ones after them
    lasting         modules are those whose step lasts
    mirror          where the second host dials the first one, if not at its endpoint
    execution       more of the configuration's `execution:`, by key; mode afap and 1 kHz if it says nothing else
    """

    def __init__(self, hermes, nodes, hosts, signals, modules=1, *, all_wired=False, closed=True, lasting=False, mirror=None,
                 execution=None):
        self.hermes, self.nodes, self.hosts, self.signals, self.closed = hermes, nodes, hosts, signals, closed
        each = modules if all_wired else 1
        self.count = hosts * each  # in the ring
        names = [(f"m{i}", i // each) for i in range(self.count)]
        names += [(f"e{h}_{m}", h) for h in range(hosts) for m in range(each, modules)]
        settings = {"mode": "afap", "rate_hz": 1000.0, **nodes.execution, **(execution or {})}
        wires = [(i, (i + 1) % self.count) for i in range(self.count if closed else self.count - 1)]
        of_first = f', mirror: "{mirror}"' if mirror else ""
        shape = "-".join(map(str, (hosts, signals, modules, int(all_wired), int(closed), int(lasting))))
        shape += "" if mirror is None else "-" + mirror.rpartition("/")[2]
        self.config = nodes.folder / f"ring-{shape}-{settings['mode']}-{settings.get('mirrors')}.yaml"
        self.config.write_text("\n".join([
            'version: "0.2"', "name: hermes-bench", "hosts:",
            *(f'  h{h}: {{ {nodes.entry(h)}{"" if h else of_first} }}' for h in range(hosts)),
            "modules:",
            *(f"  {name}: {{ type: process, executable: ./{neighbour(signals, lasting)}, host: h{h} }}" for name, h in names),
            "wiring:",
            *(f"  - {{ src: m{one}.own.*, dst: m{other}.in.* }}" for one, other in wires),
            "execution:", *(f"  {key}: {value}" for key, value in settings.items())]) + "\n")

    def command(self, frames, grant, *arguments):
        granted = [] if grant is None else ["--grant", str(grant)]
        return [str(self.hermes), "run", str(self.config), "-q", "--frames", str(frames), *granted,
                *self.nodes.key_words("desk"), *arguments]

    def run(self, frames, grant=1, *arguments):
        """The summary of one run; grant None leaves the number of frames a step message grants to Hermes. In it,
        besides, the processor seconds of all hosts together and of the coordinator, from start to end."""
        nodes_before, own_before = self.nodes.cpu_seconds(self.hosts), resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = json.loads(run_checked(self.command(frames, grant, "--summary", "-", *map(str, arguments))))
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary["hosts_cpu_s"] = self.nodes.cpu_seconds(self.hosts) - nodes_before
        summary["coordinator_cpu_s"] = own.ru_utime + own.ru_stime - own_before.ru_utime - own_before.ru_stime
        return summary

    def run_less_start(self, frames, grant=1):
        """A run as bench/zmq_floor.c reports one: processor time a frame, without what start and end take."""
        few = 10
        short, whole = self.run(few, grant), self.run(few + frames, grant)
        of = {name: (whole[name] - short[name]) / frames for name in ("hosts_cpu_s", "coordinator_cpu_s")}
        return {"frames_per_s": whole["frames_per_s"], "host_cpu_s_per_frame": of["hosts_cpu_s"] / self.hosts,
                "coordinator_cpu_s_per_frame": of["coordinator_cpu_s"]}

    def check(self, frames, grant=1):
        """That the values after some frames are those of a plain loop: of the first and of the last signal."""
        for s in {0, self.signals - 1}:
            own = [1 + 1000 * i + s for i in range(self.count)]
            for _ in range(frames):
                own = [(own[i] + (own[i - 1] if i or self.closed else 0)) % LIMIT for i in range(self.count)]
            expected = {f"m{i}.own.{s:06}": own[i] for i in range(self.count)}
            printed = run_checked(self.command(frames, grant, "--print", *expected)).split()
            found = dict(word.split("=", 1) for word in printed if "=" in word)
            for name, value in expected.items():
                if name not in found or float(found[name]) != value:
                    raise Failed(f"{name} is {found.get(name)} after {frames} frames and should be {value}")


# ---- The lines of `make bench`.


def bench_hosts(bench):
    bench.zmq_floor = compile_floor(bench.folder)
    for signals in (1, 1000):
        compile_neighbour(bench.folder, signals)
    with Nodes(bench.hermes, bench.folder, 16, bench.execution) as nodes:
        idle_line(bench, nodes, "idle node")
        pair_lines(bench, nodes)
        ring_lines(bench, nodes)
        idle_line(bench, nodes, "node after its runs")


def pair_lines(bench, nodes):
    one, wide = (Ring(bench.hermes, nodes, 2, signals) for signals in (1, 1000))
    for ring in (one, wide):
        ring.check(300)
    frames = bench.frames(1e9 / run_floor(bench.zmq_floor, 2, 1, 500)["frames_per_s"])
    floor, floor_wide, floor_granted = [], [], []
    product, product_wide, granted = [], [], []
    for _ in range(bench.rounds):
        floor.append(run_floor(bench.zmq_floor, 2, 1, frames)["frames_per_s"])
        product.append(one.run(frames)["frames_per_s"])
        product_wide.append(wide.run(frames)["frames_per_s"])
        floor_wide.append(run_floor(bench.zmq_floor, 2, 1000, frames)["frames_per_s"])
        granted.append(one.run(frames, None)["frames_per_s"])
        floor_granted.append(run_floor(bench.zmq_floor, 2, 1, frames, 100)["frames_per_s"])
    bench.add("2 nodes, 1 signal each way", "f/s", floor, product, 0.9, least=True, floor_name="bare ZeroMQ")
    bench.add("2 nodes, 1 000 signals each way", "f/s", product, product_wide, 0.8, least=True,
              floor_name="itself with 1 signal")
    bench.add("  the same beside bare ZeroMQ", "f/s", floor_wide, product_wide, None, least=True,
              floor_name="bare ZeroMQ")
    bench.add("2 nodes, 1 signal, frames granted", "f/s", floor_granted, granted, None, least=True,
              floor_name="bare ZeroMQ, 100 a step")


def ring_lines(bench, nodes):
    small, large = (Ring(bench.hermes, nodes, hosts, 1) for hosts in (4, 16))
    for ring in (small, large):
        ring.check(300)
    rate = run_floor(bench.zmq_floor, 16, 1, 200)["frames_per_s"]
    frames = bench.frames(0.5e9 / rate)  # twice as long as others: processor time comes in ticks
    cpu = {}
    for _ in range(bench.rounds):
        for name, measure in (
                ("floor 4", lambda: run_floor(bench.zmq_floor, 4, 1, frames)),
                ("small", lambda: small.run_less_start(frames)),
                ("large", lambda: large.run_less_start(frames)),
                ("floor 16", lambda: run_floor(bench.zmq_floor, 16, 1, frames))):
            cpu.setdefault(name, []).append(measure()["host_cpu_s_per_frame"] * 1e6)
    bench.add("a host's CPU a frame, ring of 16", "us", cpu["small"], cpu["large"], 1.2,
              floor_name="itself in a ring of 4")
    bench.add("  the same beside bare ZeroMQ", "us", cpu["floor 16"], cpu["large"], None, floor_name="bare ZeroMQ")
    bench.add("  bare ZeroMQ itself, 4 nodes and 16", "us", cpu["floor 4"], cpu["floor 16"], None,
              floor_name="left: 4, right: 16", gated=False)


def idle_line(bench, nodes, name, seconds=2.0):
    before = nodes.cpu_ticks()
    time.sleep(seconds)
    used = [after - earlier for after, earlier in zip(nodes.cpu_ticks(), before)]
    bench.add(f"{name}, ticks in {seconds:g} s", "", [], [max(used)], 0, by="value", note="the worst of all nodes")
    bench.add(f"{name}, memory", "MB", [], [max(nodes.resident_mb())], 20.0, by="value", note="the worst of all nodes")
