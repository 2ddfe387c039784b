#!/usr/bin/env python3
"""What a frame costs over hosts, modules and signals: measured here, and fitted to the model of docs/scaling.md.

Rings over 1 to 32 nodes on this machine, by Hermes and by bare ZeroMQ (bench/zmq_floor.c), in alternating rounds; one
step message a frame. Then the model is fitted and asked for a thousand hosts.

    bench/scaling.py [--hermes PATH] [--floor-only] [--rounds N] [--seconds S] [--quick] [--json FILE]
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
from pathlib import Path

from many_hosts import Nodes, Ring, compile_floor, compile_neighbour, run_floor
from processes import Failed

ROOT = Path(__file__).resolve().parent.parent
HOSTS = (1, 2, 4, 8, 16, 32)
SIGNALS = (1, 100, 1000)
# With one module on each host their number can't be told from that of the hosts, and a thousand signals take too little
# time to be seen: these have more. (hosts, modules on each, signals)
MORE = ((2, 4, 1), (2, 16, 1), (4, 4, 1), (8, 4, 1), (2, 1, 20000), (4, 1, 20000), (8, 1, 20000))
GRANT_US = 20000  # of frames that one step message grants at most
MEASURES = ("frame_us", "coordinator_us", "host_us")


class Cell:
    """One simulation and what each of its rounds took."""

    def __init__(self, hosts, modules, signals):
        self.hosts, self.modules, self.signals = hosts, modules, signals  # on each host; each host's to the next
        self.rounds = {}  # by who ran it: what MEASURES names, a list each

    def add(self, who, result):
        taken = self.rounds.setdefault(who, {name: [] for name in MEASURES})
        taken["frame_us"].append(1e6 / result["frames_per_s"])
        taken["coordinator_us"].append(1e6 * result["coordinator_cpu_s_per_frame"])
        taken["host_us"].append(1e6 * result["host_cpu_s_per_frame"])

    def median(self, who, measure):
        return statistics.median(self.rounds[who][measure])

    def mirrored(self):
        """Values that one host sends another in a frame."""
        return self.signals if self.hosts > 1 else 0


def all_cells(quick):
    hosts = HOSTS[:4] if quick else HOSTS
    return [Cell(h, 1, s) for h in hosts for s in SIGNALS] + [Cell(*more) for more in MORE]


# ---- The fit.


def least_squares(rows, values):
    """The factors of the columns that come nearest to the values, each value's miss counted in parts of itself."""
    rows = [[x / value for x in row] for row, value in zip(rows, values)]
    count = len(rows[0])
    # The normal equations, solved by Gauss with the largest pivot first: (R' R) factors = R' 1.
    table = [[sum(row[i] * row[j] for row in rows) for j in range(count)] + [sum(row[i] for row in rows)]
             for i in range(count)]
    for i in range(count):
        pivot = max(range(i, count), key=lambda k: abs(table[k][i]))
        table[i], table[pivot] = table[pivot], table[i]
        for k in range(count):
            if k != i:
                factor = table[k][i] / table[i][i]
                table[k] = [x - factor * y for x, y in zip(table[k], table[i])]
    return [table[i][count] / table[i][i] for i in range(count)]


def fit(cells, who, measure, columns):
    """columns: by name, what each is of a cell. The first is the constant."""
    rows = [[column(cell) for column in columns.values()] for cell in cells]
    values = [cell.median(who, measure) for cell in cells]
    factors = least_squares(rows, values)
    misses = [abs(sum(f * x for f, x in zip(factors, row)) / value - 1) for row, value in zip(rows, values)]
    return {"measure": measure, "factors": dict(zip(columns, factors)), "mean_miss": statistics.mean(misses),
            "worst_miss": max(misses)}


def fit_all(cells, who):
    several = [cell for cell in cells if cell.hosts > 1]  # on one host nothing is mirrored
    return [
        # Here all hosts share one machine, so this one adds up what on machines of their own goes on side by side.
        fit(several, who, "frame_us", {
            "": lambda cell: 1, "hosts": lambda cell: cell.hosts, "modules": lambda cell: cell.hosts * cell.modules,
            "signals": lambda cell: cell.hosts * cell.mirrored()}),
        fit(cells, who, "coordinator_us", {"": lambda cell: 1, "hosts": lambda cell: cell.hosts}),
        fit(several, who, "host_us", {
            "": lambda cell: 1, "modules": lambda cell: cell.modules, "signals": lambda cell: cell.mirrored()}),
    ]


# ---- What the fit says of many machines.


def depth(hosts, fan_out):
    levels, reach = 1, fan_out
    while reach < hosts:
        levels, reach = levels + 1, reach * fan_out
    return levels


def predict(cells, who, fits):
    """A frame in which one coordinator reaches all hosts, and in which a tree of them does (docs/scaling.md)."""
    simplest = {cell.hosts: cell.median(who, "frame_us") for cell in cells if (cell.modules, cell.signals) == (1, 1)}
    each = fits[1]["factors"]["hosts"]
    lines = []
    for hosts in (32, 100, 1000):
        flat = simplest[2] + each * (hosts - 2)
        trees = {k: simplest[2] + depth(hosts, k) * k * each + (depth(hosts, k) - 1) * simplest[1]
                 for k in range(2, hosts)}
        best = min(trees, key=trees.get)
        lines.append({"hosts": hosts, "flat_us": flat, "granted_us": each * hosts * simplest[2] / GRANT_US,
                      "tree_fan_out": best, "tree_levels": depth(hosts, best), "tree_us": trees[best]})
    return lines


# ---- Measuring and printing.


def measure(options, folder):
    cells = all_cells(options.quick)
    floor = compile_floor(folder)
    for signals in {cell.signals for cell in cells}:
        compile_neighbour(folder, signals)
    if options.floor_only:
        return rounds(options, cells, floor, None)
    hermes = Path(options.hermes).resolve()
    with Nodes(hermes, folder, max(cell.hosts for cell in cells)) as nodes:
        return rounds(options, cells, floor, lambda cell: Ring(hermes, nodes, cell.hosts, cell.signals, cell.modules))


def rounds(options, cells, floor, ring_of):
    rings = [ring_of(cell) if ring_of else None for cell in cells]
    for ring in filter(None, rings):
        ring.check(50)
    for number in range(options.rounds):
        for cell, ring in zip(cells, rings):
            say(f"round {number + 1} of {options.rounds}: {cell.hosts} hosts, {cell.modules} modules on each, "
                f"{cell.signals} signals")
            size = (cell.hosts, cell.signals)
            guess = 1e6 / cell.median("floor", "frame_us") if number else run_floor(floor, *size, 100)["frames_per_s"]
            frames = max(50, int(guess * options.seconds))
            cell.add("floor", run_floor(floor, *size, frames, 1, cell.modules))
            if ring:
                cell.add("hermes", ring.run_less_start(frames))
    say("")
    return cells


def say(text):
    """What is being done, to somebody who watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def print_table(cells, everybody):
    print(f"{'':>20}" + "".join(f"  | {who:^31}" for who in everybody))
    print(f"{'hosts modules signals':>20}" + "  |   frame us  coordinator    host" * len(everybody))
    for cell in cells:
        print(f"{cell.hosts:5} {cell.hosts * cell.modules:7} {cell.signals:7} " + "".join(
            f"  | {cell.median(who, 'frame_us'):10.1f} {cell.median(who, 'coordinator_us'):12.1f} "
            f"{cell.median(who, 'host_us'):7.1f}" for who in everybody))


def print_fits(fits):
    for line in fits:
        terms = " + ".join(f"{factor:.4g} {name}".strip() for name, factor in line["factors"].items())
        print(f"  {line['measure']:15}= {terms.replace('+ -', '- ')}   "
              f"(off by {line['mean_miss']:.0%} on average, {line['worst_miss']:.0%} at worst)")


def print_predictions(lines):
    for line in lines:
        print(f"  {line['hosts']:4} machines: {line['flat_us']:6.0f} us a frame from one coordinator (whose share is "
              f"{line['granted_us']:.0f} us when it grants {GRANT_US // 1000} ms at a time), {line['tree_us']:.0f} us by "
              f"a tree of {line['tree_levels']} levels with {line['tree_fan_out']} each")


def main():
    parser = argparse.ArgumentParser(description="Fits the cost model of a frame to measurements made here.")
    parser.add_argument("--hermes", default=str(ROOT / ".build" / "release" / "hermes"))
    parser.add_argument("--floor-only", action="store_true", help="bare ZeroMQ alone")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one measurement")
    parser.add_argument("--quick", action="store_true", help="up to 8 hosts, two short rounds")
    parser.add_argument("--json", default=str(ROOT / "result" / "scaling.json"))
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (0.15 if options.quick else 0.5)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended in order
    everybody = ["floor"] if options.floor_only else ["floor", "hermes"]
    with tempfile.TemporaryDirectory(prefix="hermes-scaling-") as folder:
        try:
            cells = measure(options, Path(folder))
        except Failed as failure:
            print(f"scaling: {failure}", file=sys.stderr)
            return 2

    print(f"{os.cpu_count()} cores, medians of {options.rounds} alternating rounds; coordinator, host: CPU us a frame")
    print_table(cells, everybody)
    result = {"machine": {"cores": os.cpu_count(), "kernel": platform.release()}, "rounds": options.rounds, "cells": [
        {"hosts": cell.hosts, "modules": cell.hosts * cell.modules, "signals": cell.signals,
         **{who: {name: cell.median(who, name) for name in MEASURES} for who in everybody}, "rounds": cell.rounds}
        for cell in cells]}
    for who in everybody:
        fits = fit_all(cells, who)
        predictions = predict(cells, who, fits)
        result[who] = {"fits": fits, "predictions": predictions}
        print(f"\n{who}:")
        print_fits(fits)
        print_predictions(predictions)
    path = Path(options.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
