"""Several hosts on a real network: namespaces, veth pairs and two switches, with keys as off loopback they must be. What the
network does to a run: it gives the same digest, or it ends with one line that names the host.
"""
import stat
import time

import pytest
from conftest import HERMES, Running, segment_words
from hosts import FORMULA, LIVENESS, Hosts, Keys, error_line, hosts  # noqa: F401 (a fixture)
from network import Network, why_not
from relay import Relay
from test_hosts_faults import SOON, fails, whole_frames


@pytest.fixture(scope="module")
def network():
    reason = why_not()
    if reason:
        pytest.skip(f"NOT TESTED: hosts on a real network, cut cables, firewalls: {reason}")
    with Network() as made:
        yield made


@pytest.fixture
def rack(network, desk):
    """Three hosts, each a machine of the network with a node and keys; mirrors go over the side network."""
    script = desk.write("hermes-at-the-desk", f"#!/bin/sh\nexec {' '.join(network.inside('desk'))} {HERMES} \"$@\"\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    desk.hermes = script
    rack = Hosts(desk)
    rack.network = network
    rack.key = Keys(desk.folder, "desk")
    for name in "abc":
        rack.add(name, address=network.address(name), port=7600, mirror=f"tcp://{network.address(name, 'side')}:7600",
                 keys=Keys(desk.folder, f"node-{name}"), accept=rack.key.public_file, prefix=network.inside(name)).start()
    yield rack
    for name in "abc":
        network.mend(name)
        network.mend(name, "side")
    network.mend("desk")
    rack.close()


def test_same_digest(rack):
    rack.serves("abc")
    rack.serves("a-b")
    rack.serves("cab")


# ---- Cables ------------------------------------------------------------------------------------------------------

def test_host_is_cut_off(rack):
    with rack.live() as sim:
        sim.ready().frame(5)
        rack.network.cut("b")
        rack.network.cut("b", "side")
        done = fails(sim, "host b", r"frame \d+")
        whole_frames(done)
        # Also there, where nobody can tell it to.
        rack.all_ended("watch_a", "watch_b", "watch_c", seconds=SOON)
    rack.rest()
    rack.network.mend("b")
    rack.network.mend("b", "side")
    rack.serves()


def test_desk_is_cut_off(rack):
    """While nobody steps: silence alone tells."""
    with rack.live(mode="single_frame") as sim:
        sim.ready()
        rack.network.cut("desk")
        fails(sim, "host [abc]")
        rack.all_ended("watch_a", "watch_b", "watch_c", seconds=SOON)
    rack.rest()
    rack.network.mend("desk")
    rack.serves()


def test_link_between_two_hosts_is_cut(rack):
    """Both are there for the desk: it is the link between them that is named."""
    with rack.live() as sim:
        sim.ready().frame(5)
        rack.network.cut("b", "side")
        fails(sim, "host [abc]", "link to host b|host b.* link to host [ac]")
        rack.all_ended("watch_a", "watch_b", "watch_c", seconds=SOON)
    rack.rest()
    rack.network.mend("b", "side")
    rack.serves()


def test_link_that_comes_back_in_time(rack):
    expected = rack.reference(end_time=2)
    config = rack.ring("abc", mode="realtime", end_time=2)
    with Running(rack.desk, config, *rack.keyed, "--digest", record=False) as sim:
        sim.ready().frame(20)
        for network in ("main", "side"):
            rack.network.cut("b", network)
        # Nothing to wait for: the length of the outage is what is tested.
        time.sleep(LIVENESS / 2)
        _, frame = segment_words(sim.name)
        assert frame < 199, "the run stood still meanwhile"
        for network in ("main", "side"):
            rack.network.mend("b", network)
        done = sim.finish(30).expect(0)
    assert done.stdout == expected
    rack.rest()


# ---- Firewalls ---------------------------------------------------------------------------------------------------

def test_firewalls(rack):
    """One between the desk and a host, one between two hosts; both at once, for ZeroMQ is given some seconds to come through."""
    a, b = rack["a"], rack["b"]
    rack.network.firewall("a", a.ports[0], a.ports[-1], "side")
    rack.network.firewall("b", b.ports[0], b.ports[-1])
    try:
        names = [f"{rack.desk.name}-{place}" for place in ("host", "pair")]
        runs = [Running(rack.desk, rack.ring(places, name=name, file=name), *rack.keyed, name=name, record=False)
                for name, places in zip(names, ("b-c", "aca"))]
        with runs[0], runs[1]:
            before, between = [error_line(sim.finish(30).expect(2)) for sim in runs]
        assert "host b" in before and "--ports" in before and "firewall" in before, before
        assert any(str(port) in before for port in b.ports), before
        assert "host c" in between and "host a" in between and "firewall" in between, between
        assert any(f"{rack.network.address('a', 'side')}:{port}" in between for port in a.ports), between
        rack.rest()
    finally:
        rack.network.open("a")
        rack.network.open("b")
    rack.serves()


# ---- Addresses ---------------------------------------------------------------------------------------------------

def test_loopback_endpoint_that_must_mirror_with_another_machine(hosts):
    hosts.start("a")
    config = hosts.config({"one": ("a", FORMULA), "two": ("x", FORMULA)}, [("one.out", "two.in")],
                          hosts={"x": f'{{ endpoint: "tcp://10.71.0.9:7600", key: "{Keys(hosts.desk.folder, "x").public}" }}'}, end_time=0.1)
    began = time.monotonic()
    done = hosts.run(config, "--key", hosts.desk.folder / "x.key", timeout=20)
    done.expect(1, "host a", "host x", "mirror:", hosts["a"].endpoint)
    assert time.monotonic() - began < 5, "found before anybody is waited for"
    assert "a run begins" not in hosts["a"].said


# ---- Slow links --------------------------------------------------------------------------------------------------

def test_slow_link_to_the_desk(hosts):
    """What the desk and host a say to each other takes 10 ms, comes in pieces, and changes no bit."""
    hosts.start("ab")
    node = hosts["a"]
    entry = f'{{ endpoint: "tcp://127.0.0.9:{node.port}", mirror: "{node.endpoint}" }}'
    with Relay("127.0.0.9", [node.port, *node.ports], "127.0.0.1", delay=0.01):
        done = hosts.run(hosts.ring("ab-", hosts={"a": entry}, end_time=0.3), "--digest").expect(0)
    assert done.stdout == hosts.reference(end_time=0.3)
    hosts.rest()


def test_host_behind_a_slow_relay(rack):
    """Nobody reaches host a at an address of its own, neither the desk nor its peers."""
    node = rack["a"]
    network = rack.network
    node.mirror = f"tcp://{network.address('relay')}:{node.port}"
    entry = rack.entry(node).replace(node.endpoint, f"tcp://{network.address('relay')}:{node.port}")
    with Relay(network.address("relay"), [node.port, *node.ports], network.address("a"), 0.01, network.file("relay")):
        done = rack.run(rack.ring("abc", hosts={"a": entry}, end_time=0.3), "--digest").expect(0)
    assert done.stdout == rack.reference(end_time=0.3)
    rack.rest()
