"""Mirrors over streams of their own: the same bits whatever carries them, sealed where keys are, and what happens to a run when
somebody gets between two hosts."""
import re
import struct
import time

import pytest
from hosts import FORMULA, FORMULAS, RING, Keys, error_line, hosts  # noqa: F401 (a fixture)
from relay import Cut, Relay
from test_hosts_faults import SOON, whole_frames

CONSTANT = 1234.56789
RELAYED = "127.0.0.9"
HELLO = {True: 69, False: 92}
"""Bytes of a hello, sealed and plain."""
RECORD = {True: 4 + 32 + 8 + 17, False: 4 + 32 + 8}
"""Bytes of a mirror of one value."""


def start(hosts, names, with_keys):
    if not with_keys:
        return hosts.start(names)
    hosts.key = Keys(hosts.desk.folder, "desk")
    for name in names:
        hosts.add(name, keys=Keys(hosts.desk.folder, f"node-{name}"), accept=hosts.key.public_file).start()
    return hosts


def square(hosts, places, **how):
    """The ring of hosts.py and a fourth module that all others reach."""
    text = "".join(f"signal in_{name} f64 input = 0\n" for name in FORMULAS) + "signal out f64 output = 0\nout = out * 0.5 + "
    text += " + ".join(f"in_{name}" for name in FORMULAS) + "\n"
    for folder in [hosts.desk.folder, *(node.root for node in hosts.nodes.values())]:
        (folder / "four.formula").write_text(text)
    modules = {name: (None if host == "-" else host, FORMULA) for name, host in zip([*FORMULAS, "four"], places)}
    return hosts.config(modules, [*RING, *((f"{name}.out", f"four.in_{name}") for name in FORMULAS)],
                        **{"end_time": 1, "file": f"square-{places}", **how})


@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
def test_the_same_digest_and_recording_whatever_carries_mirrors(hosts, with_keys):
    start(hosts, "abcd", with_keys)

    def outcome(config, *args):
        done = hosts.run(config, "--digest", *args, record=True).expect(0)
        return re.search(r"digest (\w+)", done.stdout)[1], hosts.desk.record.read_text()

    alone = outcome(square(hosts, "----"))
    for places in ("-a-a", "abab", "a-cb", "abcd", "dcba"):
        config = square(hosts, places)
        for mirrors in ("auto", "tcp", "zeromq"):
            assert outcome(config, "--mirrors", mirrors) == alone, (places, mirrors)
    # As the configuration says.
    for mirrors in ("auto", "tcp", "zeromq"):
        assert outcome(square(hosts, "abcd", mirrors=mirrors)) == alone
    hosts.rest()


def test_values_that_there_are_not(hosts):
    hosts.start("a")
    done = hosts.run(hosts.ring("a-a"), "--mirrors", "pigeon")
    assert done.code == 64 and all(word in done.stderr for word in ("--mirrors", "pigeon", "auto", "tcp", "zeromq")), done.said
    done = hosts.run(hosts.ring("a-a", mirrors="pigeon"))
    done.expect(1, "mirrors", "pigeon", "zeromq")
    assert re.search(r"\.yaml:\d+:\d+: error", done.stderr), done.stderr


# ---- Somebody between two hosts -----------------------------------------------------------------------------------

def relayed(hosts, with_keys, **execution):
    """A run whose streams with host a all go through a relay at another address; `one` feeds it from the desk."""
    node = start(hosts, "ab", with_keys)["a"]
    entry = hosts.entry(node).replace("127.0.0.1", RELAYED)
    return hosts.ring("-ab", hosts={"a": entry}, **{"end_time": 1, **execution})


def through_relay(hosts, meddle=None):
    node = hosts["a"]
    return Relay(RELAYED, [node.port, *node.ports], "127.0.0.1", meddle=meddle)


@pytest.mark.parametrize("mirrors", ["tcp", "zeromq"])
@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
def test_nothing_plain_passes_where_keys_are(hosts, with_keys, mirrors):
    config = relayed(hosts, with_keys)
    (hosts.desk.folder / "one.formula").write_text(f"signal in f64 input = 1\nsignal out f64 output = 0\nout = {CONSTANT}\n")
    with through_relay(hosts) as relay:
        hosts.run(config, "--mirrors", mirrors).expect(0)
        carried = [bytes(said) for said in relay.carried]
    assert any(struct.pack("<d", CONSTANT) in said for said in carried) == (not with_keys)
    streams = [said for said in carried if said.startswith(b"HRMS")]
    # From the desk, and from host b, which has nothing to say.
    assert len(streams) == (2 if mirrors == "tcp" else 0)
    if streams:
        assert sorted(map(len, streams)) == [HELLO[with_keys], HELLO[with_keys] + 101 * RECORD[with_keys]]
        assert {said[5] for said in streams} == {int(with_keys)}
    hosts.rest()


def within_record(with_keys, number=200):
    """A place amid a record."""
    return HELLO[with_keys] + number * RECORD[with_keys] + 21


def meddling(with_keys, change):
    """Hands the first byte of `within_record` in a stream, and what comes with it, to `change(before, rest)`."""
    place = within_record(with_keys)

    def meddle(said, data):
        start = len(said) - len(data)
        if not said.startswith(b"HRMS") or not start <= place < len(said):
            return data
        return change(data[:place - start], data[place - start:])
    return meddle


@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
@pytest.mark.parametrize("freezes", [False, True], ids=["reset", "frozen"])
def test_a_stream_that_is_cut_within_a_record(hosts, with_keys, freezes):
    config = relayed(hosts, with_keys, end_time=100000)
    with through_relay(hosts, meddling(with_keys, lambda before, rest: Cut(before, freezes))):
        began = time.monotonic()
        done = hosts.run(config, "--mirrors", "tcp", record=True, timeout=60).expect(2)
        assert time.monotonic() - began < 60
    line = error_line(done)
    assert "host a" in line and re.search(r"frame \d+", line), line
    frames = whole_frames(done)
    assert 0 < len(frames) <= 201
    hosts.rest(SOON + 10)
    hosts.serves("ab-")


def test_a_stream_that_somebody_tampers_with(hosts):
    config = relayed(hosts, True, end_time=100000)
    with through_relay(hosts, meddling(True, lambda before, rest: before + bytes([rest[0] ^ 1]) + rest[1:])):
        done = hosts.run(config, "--mirrors", "tcp", record=True, timeout=60).expect(2)
    line = error_line(done)
    assert "host a" in line and "host desk" in line and "key" in line and "tampers" in line, line
    assert 0 < len(whole_frames(done)) <= 201
    hosts.rest()
    hosts.serves("ab-")


def test_a_hello_that_somebody_tampers_with(hosts):
    """It is no peer's; so the host is not reached, and it says who came."""
    config = relayed(hosts, True)

    def meddle(said, data):
        return data[:-1] + bytes([data[-1] ^ 1]) if said.startswith(b"HRMS") and len(said) == HELLO[True] else data
    with through_relay(hosts, meddle):
        done = hosts.run(config, "--mirrors", "tcp", timeout=60).expect(2)
    line = error_line(done)
    assert "host a" in line and "mirrors" in line, line
    assert "refused somebody at 127.0.0.1" in done.stderr, done.stderr
    hosts.rest()


@pytest.mark.parametrize("with_keys", [False, True], ids=["plain", "curve"])
def test_a_firewall_that_lets_only_the_links_through(hosts, with_keys):
    config = relayed(hosts, with_keys)
    with through_relay(hosts, lambda said, data: b"" if said.startswith(b"HRMS") else data):
        done = hosts.run(config, "--mirrors", "tcp", timeout=60).expect(2)
        line = error_line(done)
        assert "host a" in line and "--ports" in line and "firewall" in line and "--mirrors zeromq" in line, line
        assert any(f"{RELAYED}:{port}" in line for port in hosts["a"].ports), line
        hosts.run(config, "--mirrors", "zeromq").expect(0)
    hosts.rest()


def test_a_node_that_listens_everywhere(hosts):
    """Also where peers come over IPv6."""
    node = hosts.add("a", address="*", keys=Keys(hosts.desk.folder, "a"), accept=Keys(hosts.desk.folder, "desk").public_file).start()
    for address in ("127.0.0.1", "[::1]"):
        entry = f'{{ endpoint: "tcp://{address}:{node.port}", key: "{node.keys.public}" }}'
        config = hosts.ring("-a-", hosts={"a": entry}, end_time=1)
        done = hosts.run(config, "--key", hosts.desk.folder / "desk.key", "--mirrors", "tcp", "--digest").expect(0)
        assert done.stdout == hosts.reference()
    hosts.rest()
