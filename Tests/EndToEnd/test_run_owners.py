"""Who ends a run: its coordinator, or else the node; and where that is gone as well, the keeper. Whatever of the chain is killed
or stands still, the modules reach their safe state, nothing is left, and the name is free again."""
import json
import os
import random
import signal
import time

import pytest
from chaos import children
from conftest import Running, segment_words, wait_for
from hosts import Keys, comm, hosts  # noqa: F401 (a fixture)
from zmtp import Connection, control, frame

QUICK = 6
"""Seconds: what a node needs to hear of a loss and for its ladder, short of the 15 s in which a coordinator may come."""
OPEN = {"simulation": "", "host": "a", "index": 1, "participants": 2, "run": 0, "security": {"token": "0" * 24}, "livenessSeconds": 2,
        "wantsStreams": False}


def keeper_of(worker):
    return next(pid for pid in children(worker) if comm(pid) == "hermes-keeper")


def has_gone(hosts, *modules):
    hosts.all_ended(*modules)
    hosts.rest()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("keys", [False, True], ids=["plain", "keys"])
def test_worker_stands_still_when_its_coordinator_goes(hosts, keys, end):
    how = {}
    if keys:
        hosts.key = Keys(hosts.desk.folder, "desk")
        how = {"keys": Keys(hosts.desk.folder, "node"), "accept": hosts.key.public_file}
    hosts.start("ab", **how)
    with hosts.live(watched="ab") as sim:
        sim.ready().frame(5)
        os.kill(hosts["a"].worker(), signal.SIGSTOP)
        sim.process.send_signal(end)
        hosts.all_ended("watch_a", "watch_b")
        for node in hosts.nodes.values():
            node.rests()
        hosts.serves(name=f"{hosts.desk.name}-other" if end == signal.SIGSTOP else hosts.desk.name)
        sim.process.kill()
        sim.process.wait()
    has_gone(hosts, "watch_a", "watch_b")


def test_worker_stands_still_when_its_node_is_killed(hosts):
    """The keeper is all that is left to end it."""
    hosts.start("ab")
    with hosts.live(watched="ab") as sim:
        sim.ready().frame(5)
        worker = hosts["a"].worker()
        os.kill(worker, signal.SIGSTOP)
        hosts["a"].kill()
        # The kernel continues what was stopped when its parent goes, once.
        limit = time.monotonic() + 0.3
        while time.monotonic() < limit:
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.0005)
        sim.finish(20).expect(2, "host a")
    has_gone(hosts, "watch_a", "watch_b")
    hosts["a"].start()
    hosts.serves(name=hosts.desk.name)


def test_worker_is_killed_when_its_keeper_stands_still(hosts):
    hosts.start("ab")
    with hosts.live(watched="ab") as sim:
        sim.ready().frame(5)
        worker = hosts["a"].worker()
        os.kill(keeper_of(worker), signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        sim.finish(20).expect(2, "host a", "SIGKILL")
        hosts.serves(name=hosts.desk.name)
    has_gone(hosts, "watch_a", "watch_b")


def test_keeper_stands_still_when_a_run_ends(hosts):
    hosts.start("a")
    with hosts.live(watched="a") as sim:
        sim.ready().frame(5)
        for keeper in (keeper_of(hosts["a"].worker()), keeper_of(sim.process.pid)):
            os.kill(keeper, signal.SIGSTOP)
        began = time.monotonic()
        sim.process.send_signal(signal.SIGINT)
        sim.finish(20).expect(130)
        assert time.monotonic() - began < QUICK
    has_gone(hosts, "watch_a")


def test_coordinator_is_killed_as_it_starts(hosts):
    """At whatever moment of its first tenth of a second: the next run need not wait for the name."""
    hosts.start("ab")
    for moment in range(12):
        with Running(hosts.desk, hosts.ring("aba", name=hosts.desk.name), record=False) as sim:
            time.sleep(random.uniform(0, 0.1))
            sim.process.kill()
            sim.process.wait()
        began = time.monotonic()
        hosts.serves("aba", name=hosts.desk.name)
        assert time.monotonic() - began < QUICK, f"run {moment} waited for the one before"
    hosts.rest()


def test_end_right_behind_open(hosts):
    """Both are there before the run's process is: it hears the second as well."""
    node = hosts.start("a")["a"]
    with Connection(("127.0.0.1", node.port)) as coordinator:
        coordinator.shake_hands()
        for run in range(1, 6):
            began = time.monotonic()
            body = {**OPEN, "simulation": hosts.desk.name, "run": run}
            coordinator.write(frame(control("open", run, body)) + frame(control("end", 0, {"run": run})))
            heard = []
            while "gone" not in heard:
                heard.append(json.loads(coordinator.read_message())["say"])
            assert time.monotonic() - began < 3, heard
    node.rests()


def test_coordinator_goes_right_behind_open(hosts):
    node = hosts.start("a")["a"]
    for run in range(1, 11):
        with Connection(("127.0.0.1", node.port)) as coordinator:
            coordinator.shake_hands()
            coordinator.write(frame(control("open", run, {**OPEN, "simulation": hosts.desk.name, "run": run})))
            time.sleep(random.choice([0, 0.001, 0.03]))
    node.rests(QUICK)
    wait_for(lambda: node.said.count("a run begins") <= node.said.count("the run is over"), "every run is over")
    hosts.serves(name=hosts.desk.name)


def test_another_coordinator_of_a_node_is_not_touched(hosts):
    """The loss of one ends its runs and no other's."""
    hosts.start("a")
    with hosts.live(watched="a") as sim:
        sim.ready().frame(5)
        other = Running(hosts.desk, hosts.ring("aaa", name=f"{hosts.desk.name}-other", end_time=1000, mode="realtime"), record=False,
                        name=f"{hosts.desk.name}-other")
        with other:
            other.ready()
            other.process.kill()
            other.process.wait()
        wait_for(lambda: len(hosts["a"].workers()) == 1, "the other run is over")
        _, reached = segment_words(sim.name)
        sim.frame(reached + 50)
        sim.command("stop")
        sim.finish(20).expect(0)
    has_gone(hosts, "watch_a")
