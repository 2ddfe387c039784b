"""Where the time of a run's frames went: the `timing` of the summary, on one host and on several."""
import json
import os
import re
import signal

import pytest
from hosts import FORMULA, hosts  # noqa: F401 (a fixture)

PERCENTILES = {"p50", "p99", "p999", "max"}
PARTS = ("step_start", "execute", "wait", "coordinator", "frame")
SLEEP_US = 80_000


def summary(desk):
    return json.loads((desk.folder / "summary.json").read_text())


def run_summary(hosts, config, *args, code=0):
    done = hosts.run(config, "--summary", hosts.desk.folder / "summary.json", *args).expect(code)
    told = summary(hosts.desk)
    check(told["timing"])
    return done, told


def check(timing):
    """What holds of every timing."""
    for part in (*PARTS, "network", "lateness"):
        if timing[part] is not None:
            assert set(timing[part]) == PERCENTILES
            assert 0 <= timing[part]["p50"] <= timing[part]["p99"] <= timing[part]["p999"] <= timing[part]["max"]
    for entry in timing["module_starts"]:
        assert 0 <= entry["p50"] <= entry["p99"] <= entry["max"]


def test_one_host(hosts):
    config = hosts.config({"quick": (None, "signal x"), "slow": (None, f"signal x\nstep 40 sleep {SLEEP_US // 1000}")},
                          schedule="[quick, slow]")
    done, told = run_summary(hosts, config, "--frames", 60)
    timing, worst = told["timing"], told["timing"]["worst_frame"]
    assert all(timing[part] for part in PARTS) and timing["network"] is None and timing["lateness"] is None
    assert (worst["frame"], worst["epoch"], worst["part"], worst["host"], worst["module"]) == (40, 0, "execute", "desk", "slow")
    assert worst["time_us"] >= SLEEP_US and timing["execute"]["max"] >= SLEEP_US
    assert timing["frame"]["max"] >= worst["time_us"], "the frame on its host is part of the whole frame"
    assert {entry["module"] for entry in timing["module_starts"]} == {"quick", "slow"} and timing["missing_hosts"] == []
    assert re.search(r"frame took p50 .* us, p99 .* us, max .* us.*execute.*wait.*coordinator", done.stderr), done.stderr
    assert re.search(r"frame 40, .* us, most of it the step of module slow on host desk", done.stderr), done.stderr


def test_quiet_says_nothing_of_it(hosts):
    done, _ = run_summary(hosts, hosts.config({"quick": (None, "signal x")}), "--frames", 5, "-q")
    assert "frame" not in done.stderr


def test_realtime_counts_starts_from_the_deadline(hosts):
    config = hosts.config({"slow": (None, f"signal x\nstep 4 sleep {SLEEP_US // 1000}"), "late": (None, "signal x")},
                          schedule="[slow, late]", mode="realtime")
    _, told = run_summary(hosts, config, "--frames", 10)
    starts = {entry["module"]: entry for entry in told["timing"]["module_starts"]}
    assert told["timing"]["lateness"] == told["lateness_us"]
    assert starts["late"]["max"] >= SLEEP_US, "the phase before it is part of its lateness"


@pytest.mark.parametrize("grant", [("--grant", 1), ("--grant", 7), ()])
def test_two_hosts_name_who_was_waited_for(hosts, grant):
    hosts.start("ab")
    places = {"one": ("a", "signal x"), "two": ("b", f"signal x\nstep 30 sleep {SLEEP_US // 1000}")}
    ring = {"three": ("a", FORMULA), "four": ("b", FORMULA)}
    config = hosts.config({**places, **ring}, [("three.out", "four.in"), ("four.out", "three.in")])
    for module, (host, _) in ring.items():
        (hosts[host].root / f"{module}.formula").write_text("signal in f64 input = 1\nsignal out f64 output = 0\nout = in * 0.5 + n\n")
    _, told = run_summary(hosts, config, "--frames", 60, *grant)
    timing, worst = told["timing"], told["timing"]["worst_frame"]
    assert timing["network"] and timing["missing_hosts"] == []
    assert (worst["part"], worst["host"], worst["module"]) == ("execute", "b", "two"), worst
    assert worst["frame"] == 30 and worst["time_us"] >= SLEEP_US
    assert {(entry["host"], entry["module"]) for entry in timing["module_starts"]} == {
        ("a", "one"), ("b", "two"), ("a", "three"), ("b", "four")}


@pytest.mark.parametrize("grant", [1, 20])
def test_a_failed_run_says_what_is_known(hosts, grant):
    hosts.start("ab")
    config = hosts.config({"quitter": ("b", "signal y\nstep 50 exit 3"), "one": ("a", "signal x")})
    _, told = run_summary(hosts, config, "--frames", 100, "--grant", grant, code=2)
    assert told["timing"]["missing_hosts"] == []
    assert {entry["host"] for entry in told["timing"]["module_starts"]} == {"a", "b"}


def test_a_lost_host_is_missing_without_harm(hosts):
    hosts.start("ab")
    with hosts.live(None, "--summary", hosts.desk.folder / "summary.json", watched="ab") as sim:
        sim.ready().frame(20)
        os.kill(hosts["b"].worker(), signal.SIGKILL)
        sim.finish(30).expect(2, "host b")
    timing = summary(hosts.desk)["timing"]
    check(timing)
    assert timing["missing_hosts"] == ["b"]
    assert {entry["host"] for entry in timing["module_starts"]} == {"a"}


def test_no_frame_no_timing(hosts):
    hosts.run(hosts.config({"one": (None, "signal x")}), "--frames", 0, "--summary", hosts.desk.folder / "summary.json").expect(0)
    assert summary(hosts.desk)["timing"] is None
