"""`hermes verify` over several hosts: as placed and again on one host, and what it says when they differ."""
import json
import os
import platform
import shutil

import pytest
from hosts import Keys, Placed, hosts  # noqa: F401 (a fixture)

PLACES = "ab-"
"""Of the ring: on two hosts and the desk."""
UNSTEADY = """
import os, time
import hermes

class Unsteady:
    steady = hermes.output(1.0)
    unsteady = hermes.output(0.0)

    def step(self, dt):
        if hermes.frame() >= 4:
            self.unsteady = WHAT
"""


def verify(hosts, config, *args):
    return hosts.desk.command("verify", config, *hosts.keyed, *args)


def document(hosts, config, *args, code=0):
    return json.loads(verify(hosts, config, "--format", "json", *args).expect(code).stdout)


def beneath(hosts, host, path, text):
    """A file on a host and another one here, or none."""
    there, here = text
    (hosts[host].root / path).write_text(there)
    if here is None:
        (hosts.desk.folder / path).unlink(missing_ok=True)
    else:
        (hosts.desk.folder / path).write_text(here)


@pytest.mark.parametrize("has_keys", [False, True], ids=["plain", "keys"])
def test_as_placed_and_on_one_host(hosts, has_keys):
    if has_keys:
        hosts.key = Keys(hosts.desk.folder, "desk")
        for name in "ab":
            hosts.add(name, keys=Keys(hosts.desk.folder, name), accept=hosts.key.public_file).start()
    else:
        hosts.start("ab")
    config = hosts.ring(PLACES)
    digest = hosts.reference().split()[1]
    done = verify(hosts, config).expect(0)
    assert done.stdout == f"identical: 100 frames, digest {digest}; as placed on desk, a, b and on one host\n"
    said = document(hosts, config, "--frames", 7)
    assert said["identical"] is True and said["frames"] == 7 and said["second_run"] == "one_host"
    assert said["first_difference"] is None and said["kept_from_one_host"] == [] and said["failure_on_one_host"] is None
    assert [host["name"] for host in said["hosts"]] == ["desk", "a", "b"] and said["host_differences"] == []
    assert {host["architecture"] for host in said["hosts"]} == {platform.machine()}
    assert all(host["libc"] and host["processor"] for host in said["hosts"])


def test_files_that_differ_are_the_hosts_doing(hosts):
    hosts.start("ab")
    beneath(hosts, "b", "two.formula", [f"signal in f64 input = 0\nsignal out f64 output = 0\nout = frame min {n}\n" for n in (7, 6)])
    config = hosts.ring(PLACES)
    done = verify(hosts, config).expect(2, "third run gave the first one's values again", "hosts make the difference", "wall clock")
    # By the end of the frame three has read it as well, and one, which reads three, in the frame after.
    assert done.stdout.splitlines()[:2] == ["different: frame 7 is the first that differs", "  three.in: 7 as placed, 6 on one host"]
    assert "  two.out: 7 as placed, 6 on one host" in done.stdout.splitlines()
    said = document(hosts, config, code=2)
    assert said["identical"] is False and said["digest"] is None and said["repeats_as_placed"] is True
    difference = said["first_difference"]
    assert difference["frame"] == 7 and {"name": "two.out", "first": 7, "second": 6} in difference["signals"]
    assert verify(hosts, config, "--frames", 6).expect(0).stdout.startswith("identical: 6 frames")


def script(hosts, expression):
    text = UNSTEADY.replace("WHAT", expression)
    beneath(hosts, "a", "unsteady.py", (text, text))
    return hosts.config({"unsteady": ("a", Placed("{ type: script, script: ./unsteady.py{host} }"))}, end_time=0.2)


def test_what_a_module_finds_on_its_host_is_found(hosts):
    """A variable of the node's environment, which is not set here."""
    hosts.start("a")
    said = document(hosts, script(hosts, "len(os.environ.get('E2E_NODE', '')) > 0"), code=2)
    assert said["repeats_as_placed"] is True
    assert said["first_difference"]["frame"] == 4
    assert said["first_difference"]["signals"] == [{"name": "unsteady.unsteady", "first": 1, "second": 0}]


def test_a_clock_is_not_the_placements_doing(hosts):
    hosts.start("a")
    config = script(hosts, "time.monotonic()")
    done = verify(hosts, config).expect(2, "third run differed too, at frame 4: it is not the placement", "wall clock")
    assert "frame 4 " in done.stdout and "unsteady.unsteady: " in done.stdout
    said = document(hosts, config, code=2)
    assert said["second_run"] == "one_host" and said["repeats_as_placed"] is False


@pytest.mark.parametrize("what, reason", [
    (lambda path: path.unlink(), "there is no ./formula here"),
    (lambda path: path.chmod(0o644), "./formula can't be executed here"),
    (lambda path: (path.unlink(), path.mkdir()), "./formula is a directory here")],
    ids=["missing", "not executable", "a folder"])
def test_a_program_that_is_not_here_makes_it_twice_as_placed(hosts, what, reason):
    hosts.start("ab")
    config = hosts.ring("aba")
    digest = hosts.reference().split()[1]
    what(hosts.desk.folder / "formula")
    done = verify(hosts, hosts.ring("aba")).expect(0, "as placed, too", f"module one of host a: {reason}", f"module two of host b: {reason}")
    assert done.stdout == f"identical: 100 frames, digest {digest}\n"
    said = document(hosts, config)
    assert said["second_run"] == "as_placed" and [host["name"] for host in said["hosts"]] == ["a", "b"]
    assert said["kept_from_one_host"] == [{"module": m, "host": h, "reason": reason} for m, h in (("one", "a"), ("two", "b"), ("three", "a"))]


def test_a_module_that_does_not_start_here_makes_it_twice_as_placed(hosts):
    hosts.start("ab")
    config = hosts.ring("aba")
    beneath(hosts, "a", "three.formula", ((hosts[("a")].root / "three.formula").read_text(), "nonsense\n"))
    done = verify(hosts, config).expect(0, "as placed, too", "did not start here", "module three", "can't be read: nonsense")
    assert done.stdout.startswith("identical: 100 frames, digest ")
    said = document(hosts, config)
    assert said["second_run"] == "as_placed" and "module three" in said["failure_on_one_host"] and said["kept_from_one_host"] == []


def test_a_wire_that_leads_nowhere_here_makes_it_twice_as_placed(hosts):
    hosts.start("ab")
    beneath(hosts, "b", "two.formula", [f"signal in f64 input = 0\nsignal {name} f64 output = 0\n" for name in ("out", "other")])
    said = document(hosts, hosts.ring("aba"))
    assert said["second_run"] == "as_placed" and "module two has no signal 'out'" in said["failure_on_one_host"]


def test_other_signals_here_are_named(hosts):
    hosts.start("ab")
    beneath(hosts, "b", "two.formula",
            [f"signal in f64 input = 0\nsignal out f64 output = 0\nsignal {name} = 0\n" for name in ("old f64 -", "new i32 -")])
    config = hosts.ring("aba")
    done = verify(hosts, config).expect(2, "announced other signals in the second run")
    assert done.stdout.splitlines()[1:] == ["  only as placed: two.old (f64)", "  only on one host: two.new (i32)"]
    difference = document(hosts, config, code=2)["first_difference"]
    assert difference["only_in_first"] == ["two.old (f64)"] and difference["only_in_second"] == ["two.new (i32)"]


def test_hosts_that_are_not_alike_are_named(hosts):
    """A node that takes its machine for another one."""
    if platform.machine() != "x86_64" or not shutil.which("setarch"):
        pytest.skip("needs setarch (util-linux) on x86_64, to have a node take its machine for an i686")
    hosts.add("a", prefix=("setarch", "i686")).start()
    hosts.add("b").start()
    config = hosts.ring(PLACES)
    assert "identical: 100 frames" in verify(hosts, config).expect(0, "not alike", "a: i686, where desk is x86_64").stdout
    assert document(hosts, config)["host_differences"] == ["a: i686, where desk is x86_64"]
    (hosts["b"].root / "two.formula").write_text("signal in f64 input = 0\nsignal out f64 output = 1\n")
    verify(hosts, config).expect(2, "a: i686, where desk is x86_64", "hosts make the difference")


def test_cpus_that_are_not_alike_are_named(hosts):
    """A node that sees another /proc/cpuinfo, in a mount namespace of its own."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare (util-linux), to show a node another /proc/cpuinfo")
    fake = hosts.desk.write("cpuinfo", "processor : 0\nmodel name : Ancient\nflags : fpu fma4 sse4_1\n")
    hosts.add("a", prefix=("unshare", "--mount", "sh", "-c", f'mount --bind {fake} /proc/cpuinfo && exec "$@"', "sh")).start()
    said = document(hosts, hosts.ring("a-a"))
    assert said["hosts"][1]["processor"] == "Ancient" and said["hosts"][1]["features"] == ["fma4", "sse4_1"]
    (difference,) = said["host_differences"]
    assert difference.startswith("a: a CPU with") and "fma4" in difference and "which desk lacks" in difference
    assert "Ancient" not in open("/proc/cpuinfo").read()


def test_a_host_that_is_not_there_is_named(hosts):
    hosts.start("a")
    hosts.add("b")
    verify(hosts, hosts.ring(PLACES), "--wait", 0.3).expect(2, "host b", "first run")


def test_nothing_moves_where_no_module_has_a_host(hosts):
    said = document(hosts, hosts.ring("---"))
    assert said["second_run"] == "as_placed" and said["kept_from_one_host"] == [] and said["failure_on_one_host"] is None
    assert [host["name"] for host in said["hosts"]] == ["desk"]
