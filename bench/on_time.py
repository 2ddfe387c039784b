"""Realtime at 1 kHz: how late frames begin, what it takes of a core, and whether anything drifts.

Lateness is not the gate's: what lies in its tail is mostly what else the machine does.
"""

import json
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path

from many_hosts import Nodes, Ring, compile_floor, compile_neighbour, run_floor
from processes import Failed, children_of, run_checked

RATE = 1000
LONGEST_LATENESS_US = 20_000  # in cyclictest's histogram


# ---- One host.


def bench_realtime(bench, seconds, rounds, config):
    """`config`: two modules on this host, in realtime at 1 kHz."""
    frames = int(seconds * RATE)
    share, floor_share, late, floor_late, drift = [], [], [], [], []
    for _ in range(rounds):
        bare = bench.floor("realtime", 2, frames)
        floor_share.append(bare["cpu_share"] * 100)
        floor_late.append(bare["lateness_p99_us"])
        watch = Watch(bench.command(config, "--frames", frames), seconds)
        share.append(watch.shares["hermes"] * 100)
        late.append(watch.summary["timing"]["wake_up"]["p99"])
        drift.append(beyond_plan_ms(watch.summary))
    bench.add("1 kHz, share of a core for hermes", "%", floor_share, share, 5.0, by="value", floor_name="the same in bare C")
    bench.add("1 kHz, wake-up p99", "us", floor_late, late, 200.0, by="value", floor_name="the same in bare C",
              gated=False, note="the bar is for an idle machine")
    bench.add(f"1 kHz, wall time over {seconds:g} s beyond plan", "ms", [], drift, 5.0, by="value",
              note="one last frame, not a drift, when it stays the same for any length")


def beyond_plan_ms(summary):
    """From the first step to the last done there are frames - 1 periods and one step."""
    return (summary["wall_s"] - (summary["frames"] - 1) / RATE) * 1e3


# ---- Two hosts.


def bench_realtime_nodes(bench, seconds, rounds, drift_seconds):
    compile_neighbour(bench.folder, 1)
    compile_neighbour(bench.folder, 25)
    with Nodes(bench.hermes, bench.folder, 2, bench.execution) as nodes:
        pace_lines(bench, nodes, seconds, rounds)
        recording_lines(bench, nodes, seconds, rounds)
        if drift_seconds:
            drift_line(bench, nodes, drift_seconds)


def realtime_ring(bench, nodes, signals):
    return Ring(bench.hermes, nodes, 2, signals, execution={"mode": "realtime", "rate_hz": float(RATE)})


def watch_ring(ring, seconds, *arguments):
    command = ring.command(int(seconds * RATE), None, "--summary", "-", *map(str, arguments))
    return Watch(command, seconds, [process.pid for process in ring.nodes.processes])


def pace_lines(bench, nodes, seconds, rounds):
    ring = realtime_ring(bench, nodes, 1)
    late, floor_late, own, theirs, drift = [], [], [], [], []
    floor_own, floor_theirs = [], []
    messages = compile_floor(bench.folder)
    for _ in range(rounds):
        floor_late.append(cyclictest_p99_us(bench, seconds))
        bare = run_floor(messages, 2, 1, int(seconds * RATE), 1, 1, RATE)
        floor_own.append(bare["coordinator_cpu_s_per_frame"] * RATE * 100)
        floor_theirs.append(bare["node_cpu_s_per_frame"] * RATE * 100)
        watch = watch_ring(ring, seconds)
        late.append(watch.summary["timing"]["wake_up"]["p99"])
        own.append(watch.shares["hermes"] * 100)
        theirs.append(max(share for name, share in watch.shares.items() if name != "hermes") * 100)
        drift.append(beyond_plan_ms(watch.summary))
    bench.add("2 nodes at 1 kHz, wake-up p99", "us", floor_late, late, 1.3, floor_name="cyclictest, 1000 us", gated=False)
    bench.add("  share of a core for hermes", "%", floor_own, own, 5.0, by="value",
              floor_name="bare ZeroMQ, the same messages")
    bench.add("  share of a core for a node's run", "%", floor_theirs, theirs, 5.0, by="value", note="the worse of the two")
    bench.add(f"  wall time over {seconds:g} s beyond plan", "ms", [], drift, 5.0, by="value",
              note="one last frame, not a drift, when it stays the same for any length")


def recording_lines(bench, nodes, seconds, rounds):
    """100 published signals: the inputs and outputs of two modules with 25 of each."""
    ring = realtime_ring(bench, nodes, 25)
    file = bench.folder / "realtime.csv"
    late, floor_late = [], []
    for _ in range(rounds):
        floor_late.append(watch_ring(ring, seconds).summary["timing"]["wake_up"]["p99"])
        late.append(watch_ring(ring, seconds, "--record", file).summary["timing"]["wake_up"]["p99"])
        file.unlink()
    bench.add("  wake-up p99, 100 signals recorded", "us", floor_late, late, 1.3, floor_name="itself, nothing recorded",
              gated=False)


def drift_line(bench, nodes, seconds):
    """A few seconds beside many: what a run is beyond its plan must not grow with its length."""
    ring = realtime_ring(bench, nodes, 1)
    short = [beyond_plan_ms(watch_ring(ring, 5).summary) for _ in range(3)]
    long = beyond_plan_ms(watch_ring(ring, seconds).summary)
    bench.add(f"  wall beyond plan, {seconds:g} s less 5 s", "ms", [], [long - statistics.median(short)], 2.0, by="value")


def cyclictest_p99_us(bench, seconds):
    """Of one thread of no special policy, as the coordinator's is."""
    if shutil.which("cyclictest") is None:
        raise Failed("there is no cyclictest to compare with; it comes with the package rt-tests")
    file = bench.folder / "cyclictest.json"
    run_checked(["cyclictest", "-q", "-t", "1", "-i", str(1_000_000 // RATE), "-l", str(int(seconds * RATE)),
                 "--default-system", "-h", str(LONGEST_LATENESS_US), f"--json={file}"])
    thread = json.loads(file.read_text())["thread"]["0"]
    left = thread["cycles"] * 0.99
    for microseconds, count in sorted((int(bin), count) for bin, count in thread["histogram"].items()):
        left -= count
        if left <= 0:
            return float(microseconds)
    return float(thread["max"])


# ---- Watching.


class Watch:
    """A run whose processes are watched from /proc while it goes on. `shares`: of a core, hermes and each process that one
    of the given nodes has for it, without the modules; `summary`: what the run says of itself."""

    def __init__(self, command, seconds, nodes=()):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        result = {}
        reader = threading.Thread(target=lambda: result.update(said=process.communicate()))
        reader.start()
        margin = min(1.0, seconds / 4)
        time.sleep(margin)
        watched = None
        try:
            pids = {"hermes": process.pid, **{f"{node}/{pid}": int(pid) for node in nodes for pid in children_of(node)}}
            begin, before = time.monotonic(), {name: cpu_seconds(pid) for name, pid in pids.items()}
            time.sleep(max(seconds - 2 * margin, 0.1))
            end, watched = time.monotonic(), {name: cpu_seconds(pid) for name, pid in pids.items()}
        except OSError:  # a process is gone; why, hermes says
            pass
        finally:
            reader.join()
        output, errors = result["said"]
        if process.returncode != 0:
            raise Failed(f"hermes run exited with {process.returncode}: {errors.decode(errors='replace')[-2000:]}")
        if watched is None:
            raise Failed("hermes run ended before it could be watched")
        self.summary = json.loads(output)
        self.shares = {name: (watched[name] - before[name]) / (end - begin) for name in pids}


def cpu_seconds(pid):
    """Processor time of all threads of a process so far, to the nanosecond where the kernel tells it."""
    total = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return total
