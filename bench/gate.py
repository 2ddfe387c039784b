"""The gate: ratios to floors of this run against stored bounds, so that a regression is seen.

bench/bounds.json has them by the number of cores, for what a ratio is depends on how many things go on side by side. A
bound is the ratio when it was stored, and a margin: a quarter, or, where the rounds differed by more, as much as they
did. What has no floor (memory, shares of a core) has its bar, and is not the gate's.
"""

import json
import os
import statistics
from pathlib import Path

FILE = Path(__file__).resolve().parent / "bounds.json"
LEAST_MARGIN = 0.25
LARGEST_MARGIN = 0.6  # beyond it the line is too noisy on that machine to say anything


def gated(lines):
    return [line for line in lines if line["gated"]]


def margin_of(line):
    """Twice what half of the rounds lie apart, relative to their median."""
    ratios = sorted(p / f for p, f in zip(line["hermes_rounds"], line["floor_rounds"]) if f)
    if len(ratios) < 2:
        return LARGEST_MARGIN
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return min(max(LEAST_MARGIN, 2 * (high - low) / line["ratio"]), LARGEST_MARGIN)


def bound_of(line):
    """Where more is better a bound from below."""
    factor = 1 + margin_of(line)
    return line["ratio"] / factor if line["bar_is"] == "least" else line["ratio"] * factor


def read(file=FILE):
    return json.loads(file.read_text()) if file.exists() else {}


def stored_bounds(file=FILE):
    """By line, for this number of cores; None when nothing was stored for it."""
    return read(file).get(str(os.cpu_count()), {}).get("bounds")


def store(lines, about, date, file=FILE):
    """Bounds from these lines; those of parts that were not measured stay."""
    everything = read(file)
    entry = everything.setdefault(str(os.cpu_count()), {"bounds": {}})
    measured = {part_of(line["key"]) for line in lines}
    entry["bounds"] = {key: bound for key, bound in entry["bounds"].items() if part_of(key) not in measured}
    entry.update(cpu=about["cpu"], date=date)
    for line in gated(lines):
        which = "least" if line["bar_is"] == "least" else "most"
        entry["bounds"][line["key"]] = {which: round(bound_of(line), 3), "stored": round(line["ratio"], 3)}
    entry["bounds"] = dict(sorted(entry["bounds"].items()))
    file.write_text(json.dumps(everything, indent=1, sort_keys=False) + "\n")


def part_of(key):
    return key.split(": ")[0]


def is_worse(line, bound):
    return line["ratio"] < bound["least"] if "least" in bound else line["ratio"] > bound["most"]


def worse(lines, bounds):
    """The lines that are worse than their bounds."""
    return [line for line in gated(lines) if line["key"] in bounds and is_worse(line, bounds[line["key"]])]


def unknown(lines, bounds):
    return [line["key"] for line in gated(lines) if line["key"] not in bounds]


def missing(lines, bounds, parts):
    """Bounds of the parts that were measured, without a line."""
    keys = {line["key"] for line in lines}
    return [key for key in bounds if part_of(key) in parts and key not in keys]


def complaint(line, bound):
    least = "least" in bound
    return (f"{line['key']}: {line['ratio']:.3f} of {line['floor_name'] or 'its floor'}, and should be at "
            f"{'least' if least else 'most'} {bound['least' if least else 'most']:g} (it was {bound['stored']:g} when stored)")
