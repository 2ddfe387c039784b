#!/usr/bin/env python3
"""Two hosts far from each other: everything that one says to the other comes 5 ms later.

The second host dials the first one at its `mirror:` address, where bench/delay.c listens; the coordinator is near to
both. A cycle of hosts costs at least one way a frame: each needs what the other one made of the frame before. Hosts that
only feed others lose nothing: they are held against themselves over the same relay with no delay to speak of. Their steps
take a moment of sleep, so that neither the relay nor the processors are what bounds the rate.

A node also listens at its own `mirror:` address if its machine has it, so the address must be another machine's: all of
this runs in a network namespace of its own, with the delay in a second one. For that the program is run once more:

    distance.py HERMES FOLDER ROUNDS SECONDS EXECUTION      prints what it measured as JSON; by bench/run.py alone
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from many_hosts import PORTS_EACH, Nodes, Ring, compile_neighbour
from processes import Failed, compile_c, end_with_parent, run_checked
from two_nodes import compile_tcp_floor, rate, run_tcp_floor

ROOT = Path(__file__).resolve().parent.parent
NEAR, FAR, BESIDE = "10.71.9.1", "10.71.9.2", "10.71.10.2"
DELAY_US, NO_DELAY_US = 5000, 1
STEP_US = 200  # of modules that only feed others: far from what relay and processors can do


def bench_distance(bench):
    compile_c(ROOT / "bench" / "delay.c", bench.folder / "delay")
    compile_tcp_floor(bench.folder)
    compile_neighbour(bench.folder, 1)
    compile_neighbour(bench.folder, 1, STEP_US)
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    # Both nodes are on this machine: of themselves they would find a socket file, and no distance.
    mirrors = "zeromq" if bench.execution.get("mirrors") == "zeromq" else "tcp"
    found = json.loads(run_checked([*alone, sys.executable, __file__, str(bench.hermes), str(bench.folder), str(bench.rounds),
                                    str(bench.seconds), json.dumps({**bench.execution, "mirrors": mirrors})]))
    cycle, forward = found["cycle"], found["forward"]
    bench.add("2 nodes 5 ms apart, a cycle", "us", [DELAY_US] * len(cycle["hermes"]), cycle["hermes"], 1.1, floor_name="one way")
    bench.add("  the same beside a TCP swap", "us", cycle["tcp"], cycle["hermes"], None, floor_name="bare TCP swap as far")
    bench.add("2 nodes 5 ms apart, one feeds the other", "f/s", forward["near"], forward["far"], 0.95, least=True,
              floor_name="itself, 1 us apart")


# ---- Within the namespace.


class Distance:
    """bench/delay.c on a machine of its own, at `address`, before the ports of a node at NEAR."""

    def __init__(self, folder, port, address, delay_us):
        self.words = [str(folder / "delay"), str(delay_us), address, NEAR, f"{port}-{port + PORTS_EACH - 1}"]
        self.address = address
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", 'echo here; read go; exec "$@"', "sh", *self.words],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=end_with_parent)
        try:
            self.expect(b"here\n")
            pid = str(self.process.pid)
            link, here = f"to{pid}", self.address.rsplit(".", 1)[0] + ".1"
            run_checked(["ip", "link", "add", link, "type", "veth", "peer", "name", "far", "netns", pid])
            run_checked(["ip", "address", "add", f"{here}/24", "dev", link])
            run_checked(["ip", "link", "set", link, "up"])
            for words in (["address", "add", f"{self.address}/24", "dev", "far"], ["link", "set", "far", "up"],
                          ["route", "add", "default", "via", here]):
                run_checked(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words])
            return self
        except BaseException:
            self.__exit__()
            raise

    def listen(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        self.expect(b"listening\n")

    def expect(self, line):
        if self.process.stdout.readline() != line:
            raise Failed(f"`{' '.join(self.words)}` ended with {self.process.wait()}")

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def measure(hermes, folder, rounds, seconds, execution):
    run_checked(["ip", "link", "set", "lo", "up"])
    first_port = 21000  # nobody else is in this namespace
    with (Distance(folder, first_port, FAR, DELAY_US) as distance, Distance(folder, first_port, BESIDE, NO_DELAY_US) as beside,
          Nodes(hermes, folder, 2, execution, NEAR) as nodes):
        if nodes.ports[0] != first_port:
            raise Failed(f"the first node got port {nodes.ports[0]}, and not {first_port}")
        distance.listen()
        beside.listen()
        return {"cycle": cycle(hermes, nodes, folder / "tcp_floor", rounds, seconds),
                "forward": forward(hermes, nodes, rounds, seconds)}


def cycle(hermes, nodes, tcp, rounds, seconds):
    """Microseconds a frame."""
    ring = Ring(hermes, nodes, 2, 1, mirror=f"tcp://{FAR}")
    ring.check(20)
    frames = max(100, int(2 * seconds * 1e6 / DELAY_US))
    found = {"tcp": [], "hermes": []}
    for _ in range(rounds):
        # On a port of the node's range that no run has at this moment.
        found["tcp"].append(1e6 / run_tcp_floor(tcp, 1, frames, 1, f"{FAR}:{nodes.ports[0] + PORTS_EACH - 1}")["frames_per_s"])
        found["hermes"].append(1e6 / rate(ring, frames))
    return found


def forward(hermes, nodes, rounds, seconds):
    """Frames a second."""
    near, far = (Ring(hermes, nodes, 2, 1, closed=False, lasting=True, mirror=f"tcp://{mirror}") for mirror in (BESIDE, FAR))
    for ring in (near, far):
        ring.check(300)
    # Many: the way that the first frames take, granted a few at a time, is none of the rate's business.
    frames = int(8 * seconds * rate(near, 2000))
    found = {"near": [], "far": []}
    for _ in range(rounds):
        found["near"].append(rate(near, frames))
        found["far"].append(rate(far, frames))
    return found


def main():
    hermes, folder, rounds, seconds, execution = sys.argv[1:]
    try:
        found = measure(Path(hermes), Path(folder), int(rounds), float(seconds), json.loads(execution))
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
