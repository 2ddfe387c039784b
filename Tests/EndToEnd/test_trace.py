"""`hermes run --trace`: the file opens in Perfetto, which takes complete slices that nest on their track, and it says what happened.
`hermes run --profile`: its table."""
import json
import os
import re
import signal
from collections import Counter, defaultdict

import pytest
from hosts import FORMULA, hosts  # noqa: F401 (a fixture)

SLEEP_MS = 30


class Timeline:
    """A trace-event file, checked as it is read."""

    def __init__(self, path):
        whole = json.loads(path.read_text())
        self.overwritten = whole["otherData"]["overwritten"]
        self.events = whole["traceEvents"]
        self.processes, self.threads = {}, {}
        for event in self.events:
            if event["ph"] == "M":
                where = (event["pid"], event["tid"]) if event["name"] == "thread_name" else event["pid"]
                names = self.threads if event["name"] == "thread_name" else self.processes
                assert where not in names, f"two names for {where}"
                names[where] = event["args"]["name"]
        assert len(set(self.threads.items())) == len(self.threads), "one track a module"
        self.check()

    def check(self):
        last, open_ends, flows = 0, defaultdict(list), defaultdict(list)
        for event in self.events:
            if event["ph"] == "M":
                continue
            assert event["ph"] in "Xisf" and event["ts"] >= last, event
            last = event["ts"]
            track = event["pid"], event["tid"]
            assert track in self.threads and event["pid"] in self.processes, event
            if event["ph"] in "sf":
                flows[event["id"]].append(event["ph"])
            if event["ph"] != "X":
                continue
            begin, end = round(event["ts"] * 1000), round((event["ts"] + event["dur"]) * 1000)
            stack = open_ends[track]
            while stack and stack[-1] <= begin:
                stack.pop()
            assert end >= begin and (not stack or end <= stack[-1]), f"{event} reaches out of the slice around it"
            stack.append(end)
        assert all(ends == ["s", "f"] for ends in flows.values()), flows
        self.flows = len(flows)

    def slices(self, host, track, name=None):
        return [event for event in self.events if event["ph"] in "Xi" and self.processes[event["pid"]] == host
                and self.threads[event["pid"], event["tid"]] == track and name in (None, event["name"])]

    def frames(self, host, track, name):
        return [event["args"]["frame"] for event in self.slices(host, track, name)]


def trace_path(hosts):
    return hosts.desk.folder / "trace.json"


def test_one_host(hosts):
    modules = {"a": (None, "signal x"), "b": (None, f"signal x\nstep 7 sleep {SLEEP_MS}"), "c": (None, "signal x")}
    config = hosts.config(modules, schedule="[[a, b], c]")
    hosts.run(config, "--frames", 20, "--trace", trace_path(hosts)).expect(0)
    timeline = Timeline(trace_path(hosts))
    assert list(timeline.processes.values()) == ["desk"] and timeline.overwritten == {"desk": 0, "coordinator": 0}
    for module in "abc":
        assert timeline.frames("desk", module, "step") == list(range(1, 21))
    assert timeline.frames("desk", "node", "frame") == list(range(1, 21))
    assert timeline.frames("desk", "coordinator", "advance") == list(range(1, 21))
    frames = {event["args"]["frame"]: event for event in timeline.slices("desk", "node", "frame")}
    for module in "abc":
        for step in timeline.slices("desk", module, "step"):
            frame = frames[step["args"]["frame"]]
            assert frame["ts"] <= step["ts"] and step["ts"] + step["dur"] <= frame["ts"] + frame["dur"] + 0.001
    (slow,) = [step for step in timeline.slices("desk", "b", "step") if step["args"]["frame"] == 7]
    (waited,) = [wait for wait in timeline.slices("desk", "a", "wait") if wait["args"]["frame"] == 7]
    assert slow["dur"] >= SLEEP_MS * 1000 and waited["dur"] >= SLEEP_MS * 500, "a waited for b"
    after = {step["args"]["frame"]: step["ts"] for step in timeline.slices("desk", "c", "step")}
    assert after[7] >= slow["ts"] + slow["dur"]


@pytest.mark.parametrize("grant", [1, 10])
def test_two_hosts(hosts, grant):
    hosts.start("ab")
    config = hosts.ring("ab-")
    hosts.run(config, "--frames", 30, "--grant", grant, "--trace", trace_path(hosts)).expect(0)
    timeline = Timeline(trace_path(hosts))
    assert sorted(timeline.processes.values()) == ["a", "b", "desk"]
    for module, host in (("one", "a"), ("two", "b"), ("three", "desk")):
        assert timeline.frames(host, module, "step") == list(range(1, 31))
    for host, peer in (("a", "desk"), ("b", "a"), ("desk", "b")):
        assert timeline.frames(host, "node", f"mirror {peer}") == list(range(1, 31)), "each gets its value of the ring"
    assert timeline.flows == 90, "an arrow for each mirror"
    steps = 30 // grant
    for host in "ab":
        assert len(timeline.slices("desk", "coordinator", f"step to {host}")) == steps
        sent = timeline.slices(host, "node", "done to desk")
        assert [event["args"]["frames"] for event in sent] == [1] + [grant] * steps, "frame 0 has a done, too"
        # On one machine the clocks are the same, and so is the order of cause and effect but for half a round trip.
        for said, heard in zip(timeline.slices("desk", "coordinator", f"step to {host}"), timeline.slices(host, "node", "step from desk")):
            assert heard["ts"] > said["ts"] - 5000 and heard["args"] == said["args"]


def test_a_killed_module(hosts):
    hosts.start("ab")
    victim = {"victim": ("b", "signal y\nstep 25 say hanging\nstep 25 hang")}
    with hosts.live(victim, "--trace", trace_path(hosts), watched="ab", step_timeout_s=30) as sim:
        pid = sim.ready().module_pid("victim")
        sim.says("hanging")
        os.kill(pid, signal.SIGKILL)
        sim.finish(30).expect(2, "victim")
    timeline = Timeline(trace_path(hosts))
    assert timeline.frames("b", "victim", "step")[-1] == 24
    assert timeline.frames("b", "victim", "step, never ended") == [25]
    assert set(timeline.processes.values()) == {"desk", "a", "b"}


def test_a_lost_host_is_missing_without_harm(hosts):
    hosts.start("ab")
    with hosts.live(None, "--trace", trace_path(hosts), watched="ab") as sim:
        sim.ready().frame(10)
        os.kill(hosts["b"].worker(), signal.SIGKILL)
        sim.finish(30).expect(2, "host b")
    assert "a" in Timeline(trace_path(hosts)).processes.values()


def test_the_ring_keeps_the_newest(hosts):
    config = hosts.config({"a": (None, "signal x")})
    hosts.run(config, "--frames", 40_000, "--trace", trace_path(hosts)).expect(0)
    timeline = Timeline(trace_path(hosts))
    assert timeline.overwritten["desk"] > 0
    assert timeline.frames("desk", "a", "step")[-1] == 40_000
    assert sum(timeline.overwritten.values()) + len([e for e in timeline.events if e["ph"] in "Xi"]) == 4 * 40_000


@pytest.mark.parametrize("policy", ["slip", "catch_up", "skip", "stop"])
def test_an_overrun_writes_what_was_before(hosts, policy):
    # Frames so long, and the late one so early, that a busy machine has no overrun of its own before it.
    config = hosts.config({"late": (None, "signal x\nstep 3 sleep 250")}, mode="realtime", rate_hz=5,
                          realtime=f"{{ grace_s: 0, on_overrun: {policy} }}")
    hosts.run(config, "--frames", 5, "--trace", trace_path(hosts)).expect(2 if policy == "stop" else 0)
    Timeline(trace_path(hosts))
    around = Timeline(hosts.desk.folder / "trace.json.overrun-1.json")
    assert around.frames("desk", "late", "step") == [1, 2, 3]
    left = Counter(path.name for path in hosts.desk.folder.glob("trace.json.overrun-*"))
    assert len(left) <= 3


def test_an_overrun_in_the_grace_is_none(hosts):
    config = hosts.config({"late": (None, f"signal x\nstep 20 sleep {SLEEP_MS}")}, mode="realtime", realtime="{ grace_s: 1000 }")
    hosts.run(config, "--frames", 40, "--trace", trace_path(hosts)).expect(0)
    assert 20 in Timeline(trace_path(hosts)).frames("desk", "late", "step")
    assert not list(hosts.desk.folder.glob("trace.json.overrun-*"))


def test_a_file_that_cannot_be_written_is_refused_at_once(hosts):
    config = hosts.config({"a": (None, "signal x\ninit write {ends}")})
    for path in ("/nowhere/trace.json", "/dev/full/x", hosts.desk.folder):
        hosts.run(config, "--frames", 5, "--trace", path).expect(2, path)
    assert not hosts.ended, "nothing was started"


def test_a_full_disk_at_the_end_is_told(hosts):
    config = hosts.config({"a": (None, "signal x")})
    hosts.run(config, "--frames", 5, "--trace", "/dev/full").expect(2, "/dev/full", "No space left")


def test_profile(hosts):
    hosts.start("a")
    places = {"three": ("a", FORMULA), "one": (None, FORMULA), "slow": ("a", f"signal x\nstep 3 sleep {SLEEP_MS}")}
    config = hosts.config(places, [("three.out", "one.in"), ("one.out", "three.in")])
    summary = hosts.desk.folder / "summary.json"
    done = hosts.run(config, "--frames", 4, "--profile", "--summary", summary).expect(0)
    for row in (r"slow\s+a\s+4 ", r"one\s+desk\s+4 ", r"a\s+4\s+mirror", r"desk\s+4\s+coordinator", r"values of desk"):
        assert re.search(row, done.stdout), f"{row}\n{done.stdout}"
    profile = json.loads(summary.read_text())["profile"]
    assert profile["frames"] == 4
    slow = next(module for module in profile["modules"] if module["module"] == "slow")
    assert slow["host"] == "a" and slow["frames"] == 4 and slow["execute"]["max_us"] >= SLEEP_MS * 1000
    assert 0 < slow["execute"]["share"] <= 1.01
    assert {host["host"] for host in profile["hosts"]} == {"desk", "a"}
    told = json.loads(hosts.run(config, "--frames", 4, "--profile", "--summary", "-").expect(0).stdout)
    assert told["profile"]["frames"] == 4
    assert "profile" not in json.loads(hosts.run(config, "--frames", 4, "--summary", "-").expect(0).stdout)
