#!/usr/bin/env python3
"""make bench: what Hermes costs, each line beside its floor from the same run.

Floor and product alternate, round by round, so that a busy machine slows both. A line quotes the medians of all
rounds and the median of the rounds' own ratios. Nothing here fails for being slow: a missed bar reads MISS.

    bench/run.py [--hermes PATH] [--json FILE] [--quick] [--only PART]
    bench/run.py --check    exit code 1 when a ratio is worse than its bound (bench/gate.py)
    bench/run.py --store    writes the bounds
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import gate
from distance import bench_distance
from endurance import bench_memory
from many_hosts import bench_hosts
from on_time import bench_realtime, bench_realtime_nodes
from processes import Failed, compile_c, run_checked
from two_nodes import bench_two_nodes

ROOT = Path(__file__).resolve().parent.parent
WIDE_COUNT = 100_000


# ---- Running things.


class Bench:
    def __init__(self, hermes, folder, rounds, seconds):
        self.hermes = hermes
        self.folder = folder
        self.rounds = rounds
        self.seconds = seconds  # of one measurement
        self.floors = folder / "floors"
        self.lines = []
        self.part = ""  # that is being measured
        self.execution = {}  # of every run on several nodes: more keys of `execution:`

    def compile(self):
        headers = ["-I", ROOT / "include"]
        modules = ROOT / "bench" / "modules"
        library = ROOT / ".build" / "lib" / "libhermes.a"
        compile_c(ROOT / "bench" / "floors.c", self.floors, "-pthread")
        compile_c(modules / "relay.c", self.folder / "relay", *headers, library, "-pthread", "-ldl", "-lm")
        shared = [*headers, "-shared", "-fPIC"]
        compile_c(modules / "relay.c", self.folder / "relay.so", *shared)
        for name, signal_flags in (("wide_out", "HERMES_OUTPUT"), ("wide_in", "HERMES_INPUT")):
            compile_c(modules / "wide.c", self.folder / f"{name}.so", *shared, f"-DWIDE_FLAGS={signal_flags}")
        for i in range(32):  # a shared object is loaded once: a copy each, so that each module has its own variables
            shutil.copy(self.folder / "relay.so", self.folder / f"relay_{i}.so")

    def floor(self, *arguments):
        """One line of bench/floors.c, as a dictionary."""
        return json.loads(run_checked([str(self.floors), *map(str, arguments)]))

    def run(self, config, *arguments):
        """The summary of one `hermes run`."""
        return json.loads(run_checked(self.command(config, *arguments)))

    def command(self, config, *arguments):
        return [str(self.hermes), "run", str(config), "-q", "--summary", "-", *map(str, arguments)]

    def peak_mb(self, command):
        """A command's output and its peak memory. Started from a small process, whose own peak would count too."""
        file = self.folder / "peak"
        output = run_checked([str(self.floors), "peak", str(file), *command])
        return output, int(file.read_text()) / 1024.0

    def frames(self, ns_per_frame):
        """As many frames as take about `seconds`."""
        return max(20, int(self.seconds * 1e9 / max(ns_per_frame, 1.0)))

    def add(self, name, unit, floor, product, bar, *, by="ratio", least=False, floor_name="", note="", gated=True):
        """A line of the table. by: what the bar bounds: the ratio, or the product's own value. least: more is better, and
        the bar is one from below. An indented name says what it is beside the line above it. gated: bench/gate.py looks at
        its ratio."""
        ratio = statistics.median(p / f for p, f in zip(product, floor) if f) if floor else None
        floor_value = statistics.median(floor) if floor else None
        value = statistics.median(product)
        measured = ratio if by == "ratio" else abs(value)
        if not name.startswith(" "):
            self.heading = name
        key = f"{self.part}: {name}" if name == self.heading else f"{self.part}: {self.heading}, {name.strip()}"
        line = {
            "part": self.part, "key": key, "name": name, "gated": gated and ratio is not None,
            "unit": unit, "floor": floor_value, "floor_name": floor_name, "hermes": value, "ratio": ratio,
            "bar": bar, "bar_bounds": by, "bar_is": "least" if least else "most", "note": note,
            "ok": None if bar is None else measured >= bar if least else measured <= bar,
            "floor_rounds": floor, "hermes_rounds": product,
        }
        self.lines.append(line)
        print_line(line)


def ns_per_frame(summary):
    return summary["wall_s"] * 1e9 / max(summary["frames"], 1)


# ---- Configurations.


def write_relays(bench, file, count, kind, *, chain, mode="afap", rate=1000.0):
    """`count` relays in a ring: one phase, or, as a chain, a phase each."""
    names = [f"m{i}" for i in range(count)]
    lines = ['version: "0.2"', "name: hermes-bench", "modules:"]
    for i, name in enumerate(names):
        executable = f"./relay_{i}.so" if kind == "inproc" else "./relay"
        lines.append(f"  {name}: {{ type: {kind}, executable: {executable} }}")
    lines.append("wiring:")
    for i, name in enumerate(names):
        lines.append(f"  - {{ src: {name}.y, dst: {names[(i + 1) % count]}.x }}")
    schedule = ", ".join(names)
    lines += ["execution:", f"  mode: {mode}", f"  rate_hz: {rate}",
              f"  schedule: [{schedule}]" if chain else f"  schedule: [[{schedule}]]"]
    path = bench.folder / file
    path.write_text("\n".join(lines) + "\n")
    return path


def permutation(count):
    """The indices of `floors gather`: Fisher and Yates over a fixed linear congruential generator."""
    order = list(range(count))
    state = 1
    for i in range(count - 1, 0, -1):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        j = (state >> 33) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def write_wide(bench, file, wires):
    """Two inproc modules with 100 000 signals each and the given lines of wiring."""
    path = bench.folder / file
    path.write_text("\n".join([
        'version: "0.2"', "name: hermes-bench", "modules:",
        "  a: { type: inproc, executable: ./wide_out.so }",
        "  b: { type: inproc, executable: ./wide_in.so }",
        "wiring:", *wires,
        "execution: { mode: afap, rate_hz: 1000.0, schedule: [[a, b]] }"]) + "\n")
    return path


# ---- The lines.


def bench_processes(bench):
    # Of the frame rate of semaphores 0.85, 1.0 and 1.3: here they are times.
    cases = [("phase", 2, 1.18), ("phase", 8, 1.0), ("phase", 32, 0.77), ("chain", 8, 2.2)]
    for shape, count, bar in cases:
        floor_kind = "semaphores" if shape == "phase" else "chain"
        config = write_relays(bench, f"{shape}{count}.yaml", count, "process", chain=shape == "chain")
        warm = bench.floor(floor_kind, count, 500)["ns_per_frame"]
        frames = bench.frames(warm)
        floor, broadcast, product = [], [], []
        for _ in range(bench.rounds):
            floor.append(bench.floor(floor_kind, count, frames)["ns_per_frame"] / 1e3)
            product.append(ns_per_frame(bench.run(config, "--frames", frames)) / 1e3)
            if shape == "phase":
                broadcast.append(bench.floor("broadcast", count, frames)["ns_per_frame"] / 1e3)
        if shape == "phase":
            bench.add(f"frame, {count} modules in one phase", "us", floor, product, bar, floor_name=f"{count} semaphores")
            bench.add("  the same beside a broadcast", "us", broadcast, product, None, floor_name="one futex, a counter")
        else:
            bench.add(f"frame, chain of {count} modules", "us", floor, product, bar, floor_name="chain of semaphores")


def bench_wires(bench):
    order = permutation(WIDE_COUNT)
    single = write_wide(bench, "wide-single.yaml", ["  - { src: a.s000000, dst: b.s000000 }"])
    cases = [
        ("100 000 wires, random", "gather", "gather and scatter in C", 1.25,
         [f"  - {{ src: a.s{order[i]:06}, dst: b.s{i:06} }}" for i in range(WIDE_COUNT)]),
        ("100 000 wires, one run", "memcpy", "memcpy of 800 kB", 2.0, ["  - { src: a.s*, dst: b.s* }"]),
    ]
    for name, floor_kind, floor_name, bar, wires in cases:
        config = write_wide(bench, f"wide-{floor_kind}.yaml", wires)
        frames = bench.frames(bench.floor(floor_kind, WIDE_COUNT, 50)["ns_per_frame"])
        floor, product = [], []
        for _ in range(bench.rounds):
            floor.append(bench.floor(floor_kind, WIDE_COUNT, frames)["ns_per_frame"] / 1e3)
            whole = ns_per_frame(bench.run(config, "--frames", frames))
            rest = ns_per_frame(bench.run(single, "--frames", frames))
            product.append(max(whole - rest, 1.0) / 1e3)
        bench.add(name, "us", floor, product, bar, floor_name=floor_name, note="less a frame with one wire")


def bench_inproc(bench):
    count = 32
    config = write_relays(bench, "inproc.yaml", count, "inproc", chain=False)
    frames = bench.frames(100.0 * count)
    floor, product = [], []
    for _ in range(bench.rounds):
        floor.append(bench.floor("calls", count, frames)["ns_per_frame"] / count)
        product.append(ns_per_frame(bench.run(config, "--frames", frames)) / count)
    bench.add("inproc, a module and frame", "ns", floor, product, 200.0, by="value", floor_name="call and two copies in C")


def bench_start(bench):
    config = write_relays(bench, "start.yaml", 2, "process", chain=False)
    floor, product, memory, bare = [], [], [], []
    for _ in range(max(bench.rounds, 5)):
        floor.append(bench.floor("spawn", 2)["ms"])
        output, peak = bench.peak_mb(bench.command(config, "--frames", 1000))
        product.append(json.loads(output)["startup_s"] * 1e3)
        memory.append(peak)
        bare.append(bench.peak_mb([str(bench.hermes), "--version"])[1])
    bench.add("start to first frame, 2 modules", "ms", floor, product, 100.0, by="value", floor_name="2 bare processes")
    bench.add("peak memory of hermes, 2 modules", "MB", bare, memory, 25.0, by="value", floor_name="hermes --version")


# ---- Printing.


def number(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def print_head():
    print(f"{'':40} {'floor':>10} {'hermes':>10} {'':3} {'ratio':>7}  {'bar':>12}")
    print("-" * 98)


def print_line(line):
    if line["bar"] is None:
        bar, verdict = "", ""
    else:
        bound = ">=" if line["bar_is"] == "least" else "<="
        bar = f"{bound} {line['bar']:g}" + ("x" if line["bar_bounds"] == "ratio" else f" {line['unit']}")
        verdict = "ok" if line["ok"] else "MISS"
    print(f"{line['name']:40} {number(line['floor']):>10} {number(line['hermes']):>10} {line['unit']:3} "
          f"{number(line['ratio']):>7}  {bar:>12}  {verdict:5}{line['floor_name']}", flush=True)


def machine():
    model = platform.processor()
    try:
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                model = text.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}


def main():
    parser = argparse.ArgumentParser(description="Measures Hermes beside its floors.")
    parser.add_argument("--hermes", default=str(ROOT / ".build" / "release" / "hermes"))
    parser.add_argument("--json", default=str(ROOT / "result" / "bench.json"))
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "0") not in ("", "0"))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--realtime-seconds", type=float)
    parser.add_argument("--drift", type=float, metavar="SECONDS", default=0.0,
                        help="besides, a realtime run on two nodes over so many seconds: 600 for ten minutes")
    parser.add_argument("--frames-memory", type=float, metavar="FRAMES",
                        help="frames of the run whose memory is watched: 10e6 for ten million, 20 minutes or so")
    parser.add_argument("--mirrors", choices=("auto", "tcp", "zeromq"),
                        help="as `execution.mirrors` has it, for runs on several nodes; two_nodes compares all of them")
    parser.add_argument("--only", default="", metavar="PART", help=", ".join(part_names()))
    parser.add_argument("--check", action="store_true",
                        help="hold each ratio to its bound in bench/bounds.json; a line that is worse twice: exit code 1")
    parser.add_argument("--store", action="store_true", help="write the bounds anew from this run's ratios")
    options = parser.parse_args()
    if options.only not in ("", *part_names()):
        parser.error(f"--only takes one of {', '.join(part_names())}")
    if options.check and options.store:
        parser.error("--check compares with the bounds that --store writes: one of them")
    for value in (options.rounds, options.realtime_seconds, options.frames_memory):
        if value is not None and not value > 0:
            parser.error("rounds, seconds and frames are numbers over 0")
    bounds = gate.stored_bounds() if options.check else {}
    if bounds is None:
        parser.error(f"no bounds are stored for a machine with {os.cpu_count()} cores: bench/run.py --store stores them")

    rounds = options.rounds or (3 if options.quick else 7)
    parts = {name: part for name, part in all_parts(options).items() if options.only in ("", name)}

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended in order
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load'][0]:.2f}; medians of {rounds} alternating rounds")
    if about["load"][0] > 0.5 * about["cores"]:
        print("The machine is busy: both columns are, and the bars for an idle machine mean little.")
    print_head()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        bench = Bench(Path(options.hermes).resolve(), Path(folder), rounds, 0.15 if options.quick else 0.5)
        bench.execution = {"mirrors": options.mirrors} if options.mirrors else {}
        bench.compile()
        failures = measure(bench, parts)
        complaints = again(bench, parts, bounds, failures) if options.check else []

    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    path = Path(options.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "date": date, "machine": about, "rounds": rounds, "lines": bench.lines, "failures": failures,
        "worse": complaints}, indent=2) + "\n")
    bars = [line for line in bench.lines if line["ok"] is not None]
    print("-" * 98)
    print(f"{sum(line['ok'] for line in bars)} of {len(bars)} bars met; {os.path.relpath(path)} has every round")
    if options.store:
        gate.store(bench.lines, about, date)
        print(f"{len(gate.gated(bench.lines))} bounds stored in {os.path.relpath(gate.FILE)}")
    if options.check:
        report_gate(bench, parts, bounds, complaints)
    if failures:
        print(f"NOT MEASURED, or not to the end: {', '.join(failures)}")
    return 2 if failures else 1 if complaints else 0


def measure(bench, parts):
    """Runs these parts; by part, why one could not be measured."""
    failures = {}
    for name, part in parts.items():
        bench.part = name
        try:
            part(bench)
        except Failed as failure:
            failures[name] = str(failure)
            print(f"{name}: {failure}", file=sys.stderr, flush=True)
    return failures


def again(bench, parts, bounds, failures):
    """Parts with lines that are worse than their bounds are measured once more: what is worse both times is no noise."""
    first = gate.worse(bench.lines, bounds)
    suspect = {line["part"]: parts[line["part"]] for line in first}
    if not suspect:
        return []
    print(f"Worse than a bound, so once more: {', '.join(suspect)}")
    kept = bench.lines
    bench.lines = []
    failures.update(measure(bench, suspect))
    second = {line["key"] for line in gate.worse(bench.lines, bounds)}
    bench.lines = [line for line in kept if line["part"] not in suspect] + bench.lines
    return [gate.complaint(line, bounds[line["key"]]) for line in bench.lines
            if line["key"] in second and line["key"] in {line["key"] for line in first}]


def report_gate(bench, parts, bounds, complaints):
    for key in gate.unknown(bench.lines, bounds):
        print(f"no bound: {key}; --store stores one")
    for key in gate.missing(bench.lines, bounds, parts):
        print(f"a bound without a line: {key}")
    for text in complaints:
        print(f"WORSE: {text}")
    held = sum(line["key"] in bounds for line in gate.gated(bench.lines)) - len(complaints)
    print(f"{held} ratios within their bounds, {len(complaints)} worse")


def all_parts(options):
    realtime_seconds = options.realtime_seconds or (2.0 if options.quick else 10.0)
    realtime_rounds = 1 if options.quick else 3
    frames_memory = int(options.frames_memory or (50_000 if options.quick else 500_000))

    def one_host(bench):
        config = write_relays(bench, "realtime.yaml", 2, "process", chain=False, mode="realtime", rate=1000.0)
        bench_realtime(bench, realtime_seconds, realtime_rounds, config)

    return {
        "processes": bench_processes,
        "wires": bench_wires,
        "inproc": bench_inproc,
        "start": bench_start,
        "hosts": bench_hosts,
        "two_nodes": bench_two_nodes,
        "distance": bench_distance,
        "realtime": one_host,
        "realtime_nodes": lambda bench: bench_realtime_nodes(bench, realtime_seconds, realtime_rounds, options.drift),
        "memory": lambda bench: bench_memory(bench, frames_memory),
    }


def part_names():
    return list(all_parts(argparse.Namespace(realtime_seconds=None, quick=True, frames_memory=None, drift=0.0)))


if __name__ == "__main__":
    sys.exit(main())
