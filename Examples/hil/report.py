"""How well a run kept time, from its summary and its recording: report.py SUMMARY RECORDING"""

import csv
import json
import sys


def percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100.0))]


def main(summary_path, recording_path):
    with open(summary_path) as file:
        summary = json.load(file)
    with open(recording_path, newline="") as file:
        rows = list(csv.DictReader(file))[1:]  # frame 0 has seen nothing of the device
    last = rows[-1]
    late = summary["lateness_us"]
    ages = sorted(1000.0 * float(row["bridge.age_s"]) for row in rows)
    stale = sum(row["bridge.stale"] == "1" for row in rows)
    close = sum(abs(float(row["controller.target"]) - float(row["bridge.speed"])) < 2.0 for row in rows)

    for name, text in (
        ("frames", f"{summary['frames']} in {summary['wall_s']:.3f} s on {summary['hosts']} host(s)"),
        ("overruns", f"{summary['overruns']}"),
        ("began late", "p50 {p50:.0f} us, p99 {p99:.0f} us, p99.9 {p999:.0f} us, max {max:.0f} us".format(**late)),
        ("measurement", f"p50 {percentile(ages, 50):.2f} ms old, p99 {percentile(ages, 99):.2f} ms, max {ages[-1]:.2f} ms"),
        ("stale", f"{stale} frames"),
        ("datagrams", f"{last['bridge.sent']} sent, {last['bridge.received']} received, {last['bridge.lost']} lost"),
        ("speed", f"within 2 rad/s of its target in {100.0 * close / len(rows):.1f} % of the frames"),
    ):
        print(f"{name:<12} {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
