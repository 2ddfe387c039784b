"""Two nodes beside a bare stream between two nodes: what is left for Hermes to win.

bench/tcp_floor.c swaps the same values of the same module processes, without a coordinator. Hermes runs as it does for
its users: with as many frames granted as it likes, and, where a line says no more, with the mirrors that it chooses.
"""

import json
import signal
import subprocess
from pathlib import Path

from many_hosts import Nodes, Ring, compile_floor, compile_neighbour, run_floor
from processes import Failed, compile_c, end_with_parent, run_checked


ROOT = Path(__file__).resolve().parent.parent
EIGHT_BAR = 15_600  # six times the 2.6k frames a second of HELICS 3.6 with eight federates over its ipc core


def compile_tcp_floor(folder):
    program = folder / "tcp_floor"
    compile_c(ROOT / "bench" / "tcp_floor.c", program, "-pthread")
    return program


def run_tcp_floor(program, signals, frames, modules=1, link="tcp"):
    """One line of bench/tcp_floor.c, as a dictionary."""
    return json.loads(run_checked([str(program), *map(str, (signals, frames, modules, link))]))


def bench_two_nodes(bench):
    tcp, zmq = compile_tcp_floor(bench.folder), compile_floor(bench.folder)
    for signals in (1, 10, 100, 1000):
        compile_neighbour(bench.folder, signals)
    with Nodes(bench.hermes, bench.folder, 2, bench.execution) as nodes:
        swap_lines(bench, nodes, tcp, zmq)
        eight_lines(bench, nodes, tcp)
        recording_line(bench, nodes)
        call_lines(bench, nodes, tcp)


def rate(ring, frames, *arguments):
    return ring.run(frames, None, *arguments)["frames_per_s"]


def frames_for(bench, ring):
    """As many as take about the seconds of one measurement; the check of the values is made on the way."""
    ring.check(300)
    return bench.frames(1e9 / rate(ring, 1000))


def swap_lines(bench, nodes, tcp, zmq):
    """Hermes with each kind of mirrors: streams over TCP, which the bars are about, a socket file, and ZeroMQ's links."""
    widths, kinds = (1, 100, 1000), ("tcp", "auto", "zeromq")
    rings = {(kind, signals): Ring(bench.hermes, nodes, 2, signals, execution={"mirrors": kind})
             for signals in widths for kind in kinds}
    frames = {ring: frames_for(bench, rings[ring]) for ring in rings}
    found = {}
    for _ in range(bench.rounds):
        for signals in widths:
            count = 2 * frames["tcp", signals]
            for who, measure in (
                    ("bare tcp", lambda: run_tcp_floor(tcp, signals, count)["frames_per_s"]),
                    ("tcp", lambda: rate(rings["tcp", signals], frames["tcp", signals])),
                    ("bare unix", lambda: run_tcp_floor(tcp, signals, count, 1, "unix")["frames_per_s"]),
                    ("auto", lambda: rate(rings["auto", signals], frames["auto", signals])),
                    ("bare zmq", lambda: run_floor(zmq, 2, signals, frames["zeromq", signals])["frames_per_s"]),
                    ("zeromq", lambda: rate(rings["zeromq", signals], frames["zeromq", signals]))):
                found.setdefault((who, signals), []).append(measure())
    for signals in widths:
        words = f"{signals:,}".replace(",", " ") + (" signal" if signals == 1 else " signals")
        name = f"2 nodes, {words}, mirrors by TCP"
        hermes = found["tcp", signals]
        if signals == 1:
            bench.add(name, "f/s", found["bare tcp", 1], hermes, 0.75, least=True, floor_name="bare TCP swap")
        else:
            bench.add(name, "f/s", found["tcp", 1], hermes, 0.9 if signals == 100 else 0.8, least=True,
                      floor_name="itself with 1 signal")
            bench.add("  the same beside a TCP swap", "f/s", found["bare tcp", signals], hermes, None, least=True,
                      floor_name="bare TCP swap")
        bench.add("  mirrors by a socket file", "f/s", found["bare unix", signals], found["auto", signals], None, least=True,
                  floor_name="bare swap by Unix socket", gated=False)
        bench.add("  mirrors by ZeroMQ", "f/s", found["bare zmq", signals], found["zeromq", signals], None, least=True,
                  floor_name="bare ZeroMQ, a step a frame")
        bench.add("  TCP beside ZeroMQ", "f/s", found["zeromq", signals], hermes, None, least=True,
                  floor_name="itself, mirrors by ZeroMQ")


def eight_lines(bench, nodes, tcp):
    ring = Ring(bench.hermes, nodes, 2, 10, 4, all_wired=True)
    frames = frames_for(bench, ring)
    floor, product = [], []
    for _ in range(bench.rounds):
        floor.append(run_tcp_floor(tcp, 10, frames, 4)["frames_per_s"])
        product.append(rate(ring, frames))
    bench.add("2 nodes, 8 modules in a ring, 10 signals", "f/s", floor, product, EIGHT_BAR, by="value", least=True,
              floor_name="bare TCP swap, 4 modules each", note="six times HELICS over ipc, where that was measured")


def recording_line(bench, nodes):
    """100 published signals: the inputs and outputs of two modules with 25 of each."""
    compile_neighbour(bench.folder, 25)
    ring = Ring(bench.hermes, nodes, 2, 25)
    frames = frames_for(bench, ring)
    file = bench.folder / "recording.csv"
    floor, product = [], []
    for _ in range(bench.rounds):
        floor.append(rate(ring, frames))
        product.append(rate(ring, frames, "--record", file))
        with open(file) as rows:
            lines = sum(1 for _ in rows)
        if lines != frames + 2:
            raise Failed(f"the recording of {frames} frames has {lines} lines and should have {frames + 2}")
        file.unlink()
    bench.add("2 nodes, 100 signals recorded to CSV", "f/s", floor, product, 0.6, least=True,
              floor_name="itself, nothing recorded")


# ---- System calls.


def counted(bench, command, pids=()):
    """System calls of a command and of all that the given processes, and those they start meanwhile, do beside it."""
    if pids:
        watched = perf(bench, "nodes", ["-p", ",".join(map(str, pids))])
        try:
            own = counted(bench, command)
        finally:
            watched.process.send_signal(signal.SIGINT)
            watched.process.wait()
        return own + watched.count()
    whole = perf(bench, "own", ["--", *command])
    if whole.process.wait() != 0:
        raise Failed(f"`{' '.join(map(str, command))}` failed under perf, or perf may not count system calls here")
    return whole.count()


class perf:
    """A `perf stat` of system calls."""

    def __init__(self, bench, name, words):
        self.file = bench.folder / f"calls-{name}"
        self.file.unlink(missing_ok=True)
        command = ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o", str(self.file), *map(str, words)]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        except OSError as error:
            raise Failed(f"system calls are counted by perf: {error}") from None

    def count(self):
        for line in self.file.read_text().splitlines() if self.file.exists() else []:
            if "sys_enter" in line and line.split(",")[0].isdigit():
                return int(line.split(",")[0])
        raise Failed("perf may not count system calls here (it takes root, or kernel.perf_event_paranoid -1)")


def call_lines(bench, nodes, tcp):
    """What a long run has more than a short one: neither start nor end counts."""
    ring = Ring(bench.hermes, nodes, 2, 1)
    pids = [process.pid for process in nodes.processes[:2]]
    few = 200
    more = max(2000, bench.frames(1e9 / rate(ring, 1000)))

    def bare(frames):
        return counted(bench, [tcp, 1, frames])

    def hermes(frames):
        nodes.await_idle()
        calls = counted(bench, ring.command(frames, None), pids)
        nodes.await_idle()
        return calls

    floor = [(bare(few + more) - bare(few)) / more for _ in range(min(bench.rounds, 3))]
    product = [(hermes(few + more) - hermes(few)) / more for _ in range(min(bench.rounds, 3))]
    bench.add("2 nodes, 1 signal: system calls a frame", "", floor, product, None, floor_name="bare TCP swap")
