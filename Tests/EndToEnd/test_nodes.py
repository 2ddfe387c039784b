"""The tools around several hosts, with real hermes-nodes on loopback: keygen, nodes, push, doctor."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Running, segment_words, wait_for
from nodes import MARK
from zmtp import FakeNode


# ---- keygen -----------------------------------------------------------------------------------------------------

def test_keygen(desk):
    done = desk.command("keygen", "desk.key").expect(0)
    secret, public = desk.folder / "desk.key", desk.folder / "desk.key.pub"
    assert re.fullmatch(r"\S{40}\n", done.stdout)
    assert public.read_text() == done.stdout
    assert re.fullmatch(r"\S{40}\n", secret.read_text()) and secret.read_text() != done.stdout
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert done.stdout.strip() not in desk.command("keygen", "other.key").stdout


@pytest.mark.parametrize("taken", ["desk.key", "desk.key.pub"])
def test_keygen_overwrites_nothing(desk, taken):
    desk.write(taken, "precious\n")
    desk.command("keygen", "desk.key").expect(2, taken, "is there already")
    assert (desk.folder / taken).read_text() == "precious\n"
    assert sorted(path.name for path in desk.folder.glob("desk.key*")) == [taken]


def test_keygen_where_nothing_can_be_written(desk):
    desk.command("keygen", "nowhere/desk.key").expect(2, "nowhere/desk.key", "No such file")
    desk.command("keygen").expect(64, "file")
    desk.command("keygen", "a.key", "b.key").expect(64)
    assert not list(desk.folder.glob("*.key*"))


# ---- The fixture itself -----------------------------------------------------------------------------------------

ONE_REMOTE = """version: "0.2"
name: {name}
{hosts}modules:
  far: {{ type: process, executable: ./trouble, config: ./far.trouble, host: bench }}
execution: {{ rate_hz: 100, end_time: 0.1 }}
"""


@pytest.mark.parametrize("keys", [False, True], ids=["without-keys", "with-keys"])
def test_one_module_on_a_node(desk, nodes, keys):
    bench = nodes.start("bench", keys=keys)
    bench.module("trouble")
    bench.write("far.trouble", "signal x\nstage say hello from afar\nterminate say farewell\n")
    key = ["--key", nodes.key] if keys else []
    done = desk.run(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts), *key)
    done.expect(0)
    assert {"[bench/far] hello from afar", "[bench/far] farewell"} <= set(done.stderr.splitlines())
    assert done.recording.column("far.x")[-1] == "10"
    assert not bench.others
    bench.stop()
    assert "dropped" not in bench.log


def test_a_node_that_is_started_again(desk, nodes):
    bench = nodes.start("bench")
    port = bench.port
    bench.kill()
    assert bench.start().port == port


def test_a_node_on_a_socket_file(desk, nodes):
    path = desk.folder / "n.sock"
    nodes.start("bench", listen=f"ipc://{path}")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    nodes.all["bench"].stop()
    assert not path.exists()


# ---- nodes ------------------------------------------------------------------------------------------------------

def report(desk, config, *words, code=0):
    """`hermes nodes` as JSON, by host."""
    done = desk.command("nodes", desk.config(config), "--format", "json", *words)
    assert done.code == code, done.said
    return {host["name"]: host for host in json.loads(done.stdout)["hosts"]}


@pytest.mark.parametrize("keys", [False, True], ids=["without-keys", "with-keys"])
def test_nodes(desk, nodes, keys):
    nodes.start("bench", keys=keys)
    nodes.start("rack", keys=keys)
    config = ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts)
    key = ["--key", nodes.key] if keys else []
    hosts = report(desk, config, *key)
    assert list(hosts) == ["bench", "rack"]
    for host in hosts.values():
        assert host["reachable"] is True and host["endpoint"] == nodes.all[host["name"]].endpoint
        assert host["version"] == desk.command("--version").stdout.strip()
        assert 0 < host["round_trip_s"] < 5
        assert abs(host["clock_offset_s"]) <= host["clock_error_s"] + 0.005, "it is the same clock"
        assert host["cores"] == os.cpu_count() and host["memory"] > 0
        assert host["architecture"] == os.uname().machine and host["libc"].startswith("glibc")
        assert host["differences"] == [] and host["running"] == []
    text = desk.command("nodes", "sim.yaml", *key).expect(0).stdout
    assert [line.split()[0] for line in text.splitlines()] == ["HOST", "bench", "rack"]


def test_nodes_says_what_runs(desk, nodes):
    bench = nodes.start("bench")
    bench.module("trouble")
    bench.write("far.trouble", "signal x\n")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts).replace("end_time: 0.1", "mode: realtime"))
    with Running(desk, config) as sim:
        sim.until(lambda: report(desk, config)["bench"]["running"] == [desk.name], "the node says what it runs")
        assert desk.name in desk.command("nodes", config).stdout
    assert report(desk, config)["bench"]["running"] == []


def test_nodes_that_are_not_reached(desk, nodes):
    bench = nodes.start("bench")
    gone = nodes.start("gone")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
    gone.stop()
    hosts = report(desk, config, code=2)
    assert hosts["bench"]["reachable"] and hosts["bench"]["version"]
    assert hosts["gone"]["reachable"] is False and "nobody listens" in hosts["gone"]["cause"]
    done = desk.command("nodes", config)
    assert done.code == 2 and f"host gone: nobody listens at {gone.endpoint}" in done.stdout
    assert "dropped" not in bench.log


def test_nodes_of_a_frozen_one(desk, nodes):
    bench = nodes.start("bench")
    bench.process.send_signal(signal.SIGSTOP)
    hosts = report(desk, ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts), code=2)
    assert bench.endpoint in hosts["bench"]["cause"]


def test_nodes_on_a_socket_file(desk, nodes):
    nodes.start("bench", listen=f"ipc://{desk.folder / 'n.sock'}")
    assert report(desk, ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))["bench"]["reachable"]


def test_nodes_without_hosts(desk):
    desk.module("trouble")
    desk.write("a.trouble", "")
    config = desk.config("version: '0.2'\nmodules:\n  a: { type: process, executable: ./trouble, config: ./a.trouble }\n")
    done = desk.command("nodes", config).expect(0, "everything runs here")
    assert done.stdout == ""
    assert report(desk, config) == {}
    desk.command("push", config).expect(0, "nothing to push")


# ---- Hosts that are not like this machine ---------------------------------------------------------------------

def other_machine(ahead_seconds=0.0, **answers):
    """What a node on a machine of another kind says, its clock so much ahead."""
    def clock():
        return time.time_ns() + int(ahead_seconds * 1e9)

    def answer(message):
        say = message["say"]
        known = {
            "hello": lambda: ("welcome", {
                "version": "0.2.9", "protocolVersion": 1, "oldestProtocol": 1, "clockNanoseconds": clock(), "cores": 64,
                "memory": 512 << 30, "running": ["tide", "wind"],
                "machine": {"architecture": "riscv64", "processor": "Odd", "features": [], "libc": "glibc 2.99"}}),
            "ping": lambda: ("pong", {"clockNanoseconds": clock()}),
            "checkup": lambda: ("findings", {"findings": [
                {"subject": "sails", "verdict": "broken", "seen": "torn", "cure": "mend them"}]}),
        }
        return answers[say] if say in answers else known[say]() if say in known else ("refused", {"cause": f"no {say} here"})
    return answer


def config_of(desk, fake):
    return desk.config(ONE_REMOTE.format(name=desk.name, hosts=f'hosts:\n  bench: {{ endpoint: "{fake.endpoint}" }}\n'))


def test_nodes_of_another_kind(desk):
    with FakeNode(other_machine(ahead_seconds=-90)) as fake:
        host = report(desk, config_of(desk, fake))["bench"]
        text = desk.command("nodes", "sim.yaml").expect(0).stdout
    assert abs(host["clock_offset_s"] + 90) <= host["clock_error_s"] + 0.01
    assert host["version"] == "0.2.9" and host["cores"] == 64 and host["running"] == ["tide", "wind"]
    assert any("riscv64, where this machine is" in one for one in host["differences"])
    assert any("glibc 2.99, where this machine has" in one for one in host["differences"])
    assert [message["say"] for message in fake.heard].count("ping") == 2 * 15
    line = next(line for line in text.splitlines() if line.startswith("bench "))
    assert "tide, wind" in line and "512.0 GiB" in line and re.search(r" -1 min 30 s| -90(\.0)? s", line), line
    assert "host bench: riscv64" in text and "last bits" in text


def test_doctor_of_another_kind(desk):
    with FakeNode(other_machine(ahead_seconds=0.5)) as fake:
        document, hosts = checkups(desk.command("doctor", config_of(desk, fake), "--format", "json").expect(2))
    found = {finding["subject"]: finding for finding in hosts["bench"]["findings"]}
    assert document["healthy"] is False and found["sails"]["verdict"] == "broken" and found["sails"]["cure"] == "mend them"
    for subject, words in {"version": "0.2.9", "clock from here": "+500 ms", "kind of machine": "riscv64"}.items():
        assert found[subject]["verdict"] == "poor" and words in found[subject]["seen"] and found[subject]["cure"], found[subject]


@pytest.mark.parametrize("command, answers, words", [
    ("nodes", {"ping": ("refused", {"cause": "no ping here"})}, "no ping here"),
    ("nodes", {"hello": ("welcome", {"version": 7})}, "can't be read"),
    ("nodes", {"hello": ("sing", {})}, "can't be read"),
    ("nodes", {"hello": None}, "does not answer"),
    ("push", {"hashes": ("hashed", {"entries": []})}, "not those asked for"),
    ("push", {}, "no hashes here"),
    ("doctor", {"checkup": ("refused", {"cause": "no doctor here"})}, "no doctor here"),
])
def test_a_node_that_does_not_do_what_is_asked(desk, command, answers, words):
    desk.module("trouble")
    desk.write("far.trouble", "signal x\n")
    with FakeNode(other_machine(**answers)) as fake:
        done = desk.command(command, config_of(desk, fake))
    assert done.code == 2 and "bench" in told(done) and words in told(done), done.said


# ---- Keys -------------------------------------------------------------------------------------------------------

COMMANDS = ["nodes", "push", "doctor", "run"]


def told(done):
    """A configuration's hosts are results of some commands and errors of others."""
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_that_is_not_accepted(desk, nodes, command):
    bench = nodes.start("bench", keys=True)
    stranger = nodes.keygen("stranger")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
    done = desk.command(command, config, "--key", stranger)
    assert done.code == 2 and "bench" in told(done) and "does not accept this key" in told(done) and "--accept" in told(done)
    public = Path(f"{stranger}.pub").read_text().strip()
    bench.says("refused 127.0.0.1", public, "not among the accepted")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_key_for_a_node_that_has_one(desk, nodes, command):
    bench = nodes.start("bench", keys=True)
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
    done = desk.command(command, config)
    assert done.code == 2 and "bench" in told(done) and "--key FILE" in told(done)
    assert "dropped" not in bench.log, "nobody has spoken to it"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_configuration_without_the_key_of_its_host(desk, nodes, command):
    bench = nodes.start("bench", keys=True)
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=f'hosts:\n  bench: {{ endpoint: "{bench.endpoint}" }}\n'))
    done = desk.command(command, config, "--key", nodes.key)
    assert done.code == 2 and "bench" in told(done) and "wants keys" in told(done)
    bench.says("dropped 1 connection", "no key")


@pytest.mark.parametrize("command", COMMANDS)
def test_another_node_than_the_key_is_of(desk, nodes, command):
    bench = nodes.start("bench", keys=True)
    other = Path(f"{nodes.keygen('other')}.pub").read_text().strip()
    hosts = f'hosts:\n  bench: {{ endpoint: "{bench.endpoint}", key: "{other}" }}\n'
    done = desk.command(command, desk.config(ONE_REMOTE.format(name=desk.name, hosts=hosts)), "--key", nodes.key)
    assert done.code == 2 and "bench" in told(done) and "`key:` of the host is not that node's" in told(done)
    bench.says("dropped 1 connection", "another key")


@pytest.mark.parametrize("command", COMMANDS)
def test_keys_that_can_not_be_used(desk, nodes, command):
    nodes.start("bench", keys=True)
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
    desk.command(command, config, "--key", "nowhere.key").expect(2, "nowhere.key", "No such file")
    desk.write("rubbish.key", "rubbish\n").chmod(0o600)
    desk.command(command, config, "--key", "rubbish.key").expect(2, "rubbish.key", "no key of 40 characters")
    nodes.key.chmod(0o640)
    desk.command(command, config, "--key", nodes.key).expect(2, "others may read", "chmod 600")
    desk.command(command, config, "--key", f"{nodes.key}.pub").expect(2, f"{nodes.key}.pub is a public key; the secret one is {nodes.key}")


@pytest.mark.parametrize("command", ["nodes", "push", "doctor"])
def test_wrong_usage(desk, command):
    if command != "doctor":
        desk.command(command).expect(64, "config")
    desk.command(command, "a.yaml", "b.yaml").expect(64)
    desk.command(command, "a.yaml", "--format", "xml").expect(64)
    desk.command(command, "a.yaml").expect(1, "a.yaml:1:1")
    desk.write("bad.yaml", 'version: "0.2"\nhosts:\n  bench: { endpoint: "tcp://10.0.0.2:7600" }\nmodules:\n  a: { type: process, executable: x, host: bench }\n')
    desk.command(command, "bad.yaml").expect(1, "bad.yaml:3:22", "no `key`")


def test_doctor_takes_a_key_for_hosts_only(desk):
    desk.command("doctor", "--key", "desk.key").expect(64, "--key is for the hosts of a CONFIG")


# ---- push -------------------------------------------------------------------------------------------------------

WITH_FILES = """version: "0.2"
name: {name}
{hosts}modules:
  far: {{ type: process, executable: ./bin/trouble, config: ./far.trouble, working_dir: runs/far, files: [maps, big], host: bench }}
execution: {{ rate_hz: 100, end_time: 0.1 }}
"""


@pytest.fixture
def with_files(desk, nodes):
    """A configuration with a module of several files, all of them here, for the nodes that were started."""
    def lay_out():
        (desk.folder / "bin").mkdir()
        desk.module("trouble", to="bin/trouble")
        desk.write("far.trouble", "signal x\nstage say from afar\n")
        (desk.folder / "maps/deep").mkdir(parents=True)
        desk.write("maps/a.txt", "a")
        desk.write("maps/empty.txt", "")
        desk.write("maps/deep/b.txt", "b")
        (desk.folder / "maps/nothing").mkdir()
        (desk.folder / "maps/link.txt").symlink_to("a.txt")
        (desk.folder / "big").write_bytes(os.urandom((2 << 20) + 12345))
        return desk.config(WITH_FILES.format(name=desk.name, hosts=nodes.hosts))
    return lay_out


PUSHED = ["big", "bin/trouble", "far.trouble", "maps/a.txt", "maps/deep/b.txt", "maps/empty.txt", "maps/link.txt"]


def deeds(done):
    """What `hermes push` did, by path."""
    return {line.split()[2].rstrip(","): line.split()[1] for line in done.stdout.splitlines()}


def files_beneath(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("keys", [False, True], ids=["without-keys", "with-keys"])
def test_push_and_run(desk, nodes, with_files, keys):
    bench = nodes.start("bench", keys=keys)
    config = with_files()
    key = ["--key", nodes.key] if keys else []
    done = desk.command("push", config, *key).expect(0, "host bench: 7 sent, 2 made")
    assert deeds(done) == {**dict.fromkeys(PUSHED, "sent"), "runs/far": "made", "maps/nothing": "made"}
    assert files_beneath(bench.root) == PUSHED
    for path in PUSHED:
        there = bench.root / path
        assert there.read_bytes() == (desk.folder / path).read_bytes()
        assert stat.S_IMODE(there.stat().st_mode) == (0o755 if path == "bin/trouble" else 0o644)
        assert path in bench.log
    assert (bench.root / "maps/nothing").is_dir()
    desk.run(config, *key).expect(0, "bench/far", "from afar")

    done = desk.command("push", config, *key).expect(0, "host bench: 9 same")
    assert set(deeds(done).values()) == {"same"}


def test_push_sends_what_differs(desk, nodes, with_files):
    bench = nodes.start("bench")
    config = with_files()
    desk.command("push", config).expect(0)
    desk.write("maps/a.txt", "another")  # and what links to it
    (bench.root / "far.trouble").write_text("spoilt")
    (bench.root / "bin/trouble").chmod(0o644)
    (bench.root / "extra").write_text("stays")
    done = desk.command("push", config).expect(0)
    sent = {path for path, deed in deeds(done).items() if deed == "sent"}
    assert sent == {"maps/a.txt", "maps/link.txt", "far.trouble", "bin/trouble"}
    assert (bench.root / "maps/a.txt").read_text() == "another"
    assert os.access(bench.root / "bin/trouble", os.X_OK)
    assert files_beneath(bench.root) == sorted([*PUSHED, "extra"])


def test_push_to_several_hosts_at_once(desk, nodes):
    for name in ("one", "two", "three"):
        nodes.start(name)
    desk.module("trouble")
    lines = ["version: '0.2'", nodes.hosts + "modules:"]
    for name in nodes.all:
        desk.write(f"{name}.trouble", f"signal {name}\n")
        lines.append(f"  m{name}: {{ type: process, executable: trouble, config: {name}.trouble, host: {name} }}")
    done = desk.command("push", desk.config("\n".join(lines))).expect(0)
    for name, node in nodes.all.items():
        assert files_beneath(node.root) == sorted([f"{name}.trouble", "trouble"]), "each gets its own"
        assert f"{name}: sent {name}.trouble, {len(f'signal {name}') + 1} bytes" in done.stdout.splitlines()


def test_two_pushes_at_once(desk, nodes, with_files):
    bench = nodes.start("bench")
    config = with_files()
    (desk.folder / "big").write_bytes(os.urandom(8 << 20))
    words = [desk.hermes, "push", config]
    both = [subprocess.Popen(words, cwd=desk.folder, env=desk.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(4)]
    for push in both:
        said = push.communicate(timeout=60)[0]
        assert push.returncode == 0, said
    for path in PUSHED:
        assert (bench.root / path).read_bytes() == (desk.folder / path).read_bytes()
    assert files_beneath(bench.root) == PUSHED, "nothing unfinished is left"


def test_push_while_the_old_one_runs(desk, nodes):
    bench = nodes.start("bench")
    bench.module("trouble")
    bench.write("far.trouble", "signal x\n")
    desk.module("trouble")
    with open(desk.folder / "trouble", "ab") as program:
        program.write(b"\0")  # another file, still a program
    desk.write("far.trouble", "signal x\n")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts).replace("end_time: 0.1", "mode: realtime"))
    with Running(desk, config) as sim:
        sim.frame(3)
        assert deeds(desk.command("push", config).expect(0)) == {"trouble": "sent", "far.trouble": "same"}
        frame = segment_words(desk.name)[1]
        sim.frame(frame + 3)
    assert (bench.root / "trouble").read_bytes() == (desk.folder / "trouble").read_bytes()


def test_a_node_that_takes_no_files(desk, nodes, with_files):
    bench = nodes.start("bench", "--no-push")
    config = with_files()
    desk.command("push", config).expect(2, "host bench", "--no-push")
    assert files_beneath(bench.root) == []
    shutil.copytree(desk.folder / "maps", bench.root / "maps")
    for path in ("bin", "runs/far"):
        (bench.root / path).mkdir(parents=True)
    for path in ("bin/trouble", "far.trouble", "big"):
        shutil.copy2(desk.folder / path, bench.root / path)
    done = desk.command("push", config).expect(0)
    assert set(deeds(done).values()) == {"same"}, "looking is allowed"


def test_what_is_not_here(desk, nodes, with_files):
    bench = nodes.start("bench")
    config = with_files()
    bench.write("far.trouble", "its own")
    (desk.folder / "far.trouble").unlink()
    (desk.folder / "big").unlink()
    done = desk.command("push", config).expect(2, "host bench: big: neither here nor there")
    assert deeds(done)["far.trouble"] == "kept" and deeds(done)["bin/trouble"] == "sent"
    assert (bench.root / "far.trouble").read_text() == "its own"


def test_what_is_no_file(desk, nodes, with_files):
    bench = nodes.start("bench")
    config = with_files()
    os.mkfifo(desk.folder / "maps/pipe")
    (desk.folder / "maps/loop").symlink_to("..")
    done = desk.command("push", config).expect(0, "maps/pipe is left out", "maps/loop is left out", "2 skipped")
    assert files_beneath(bench.root) == PUSHED
    assert "maps/pipe" not in deeds(done)


@pytest.mark.parametrize("place", ["config: ../far.trouble", "config: /etc/passwd", "files: [maps, a/../../b]"])
def test_paths_that_lead_out_of_the_folder(desk, nodes, place):
    bench = nodes.start("bench")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts).replace("config: ./far.trouble", place))
    for command in ("push", "validate"):
        done = desk.command(command, config).expect(1, "sim.yaml:6:", "error", "`bench`", "module root")
        assert re.search(r"(is absolute|has a `\.\.`)", done.stderr)
    assert files_beneath(bench.root) == []


def test_links_that_lead_out_of_the_root(desk, nodes, with_files, tmp_path):
    bench = nodes.start("bench")
    config = with_files()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("precious")
    (bench.root / "maps").symlink_to(outside)
    (bench.root / "far.trouble").symlink_to(outside / "a.txt")
    desk.command("push", config).expect(2, "leads out of the module root")
    assert files_beneath(outside) == ["a.txt"] and (outside / "a.txt").read_text() == "precious"


def test_an_unfinished_upload_is_cleared_away(desk, nodes, with_files):
    bench = nodes.start("bench")
    config = with_files()
    (desk.folder / "big").write_bytes(os.urandom(64 << 20))
    push = subprocess.Popen([desk.hermes, "push", config], cwd=desk.folder, env=desk.environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    unfinished = bench.root / ".hermes-push"
    wait_for(lambda: any(file.stat().st_size for file in unfinished.glob("*")), "a file is on its way")
    # First the node: one that lives clears away what a sender has left as soon as its connection ends.
    bench.kill()
    push.kill()
    push.wait()
    assert not (bench.root / "big").exists()
    assert list(unfinished.iterdir()), "a node that was killed could not clear it away"
    bench.start()
    assert not unfinished.exists(), "the next one did"
    desk.command("push", config).expect(0)
    assert (bench.root / "big").read_bytes() == (desk.folder / "big").read_bytes()
    assert files_beneath(bench.root) == PUSHED


def test_run_says_what_is_stale(desk, nodes, with_files):
    bench = nodes.start("bench")
    config = with_files()
    desk.command("push", config).expect(0)
    assert "hermes push" not in desk.run(config).expect(0).stderr
    desk.write("far.trouble", "signal x\nstage say newer\n")
    desk.write("maps/new.txt", "new")
    (bench.root / "maps/a.txt").unlink()
    done = desk.run(config).expect(0, "from afar")
    for path, word in {"far.trouble": "differs", "maps/new.txt": "is missing there", "maps/a.txt": "is missing there"}.items():
        line = next(line for line in done.stderr.splitlines() if path in line)
        assert line.startswith("hermes: host bench:") and word in line and f"`hermes push {config}`" in line, line
    desk.command("push", config).expect(0)
    assert "hermes push" not in desk.run(config).expect(0, "newer").stderr


# ---- doctor -----------------------------------------------------------------------------------------------------

def checkups(done):
    document = json.loads(done.stdout)
    return document, {host["name"]: host for host in document["hosts"]}


def test_doctor_of_hosts(desk, nodes):
    nodes.start("bench")
    gone = nodes.start("gone")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
    document, hosts = checkups(desk.command("doctor", config, "--format", "json").expect(0))
    assert document["healthy"] is True and list(hosts) == ["bench", "gone"]
    here = {finding["subject"] for finding in document["findings"]}
    assert {"libzmq", "libsodium", "libyaml", "port 7600", "clock"} <= here
    for host in hosts.values():
        found = {finding["subject"]: finding for finding in host["findings"]}
        assert len(found) == len(host["findings"])
        assert {"version", "round trip", "clock from here", "kind of machine", "open files", "shared memory", "realtime priority",
                "libzmq", "libsodium", "python3", "run ports", "module root", "hermes-node"} <= set(found)
        for finding in found.values():
            assert (finding["verdict"] == "fine") == (finding["cure"] is None), finding
        assert found["run ports"]["seen"].startswith("9 of 9 free")
        assert str(nodes.all[host["name"]].root) in found["module root"]["seen"]
    text = desk.command("doctor", config).expect(0).stdout
    assert [line for line in text.splitlines() if line.startswith(("this machine", "bench, ", "gone, "))] == \
        ["this machine", f"bench, {nodes.all['bench'].endpoint}", f"gone, {gone.endpoint}"]

    gone.stop()
    document, hosts = checkups(desk.command("doctor", config, "--format", "json").expect(2))
    assert document["healthy"] is False
    assert hosts["gone"]["reachable"] is False and "nobody listens" in hosts["gone"]["cause"]
    assert hosts["bench"]["reachable"] is True


def test_doctor_finds_what_is_broken_on_a_host(desk, nodes):
    nodes.environment = {**desk.environment, "HERMES_PYTHON": "/bin/false"}
    nodes.start("bench", "--no-push")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
    document, hosts = checkups(desk.command("doctor", config, "--format", "json").expect(2))
    assert all(finding["verdict"] != "broken" for finding in document["findings"]), "here all is well"
    (broken,) = [finding for finding in hosts["bench"]["findings"] if finding["verdict"] == "broken"]
    assert broken["subject"] == "python3" and broken["cure"]
    (root,) = [finding for finding in hosts["bench"]["findings"] if finding["subject"] == "module root"]
    assert root["seen"].endswith("--no-push")


def test_doctor_of_a_host_with_keys_and_a_run(desk, nodes):
    bench = nodes.start("bench", keys=True)
    bench.module("trouble")
    bench.write("far.trouble", "signal x\n")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts).replace("end_time: 0.1", "mode: realtime"))
    with Running(desk, config, "--key", nodes.key) as sim:
        sim.frame(3)
        _, hosts = checkups(desk.command("doctor", config, "--key", nodes.key, "--format", "json").expect(0))
        (ports,) = [finding for finding in hosts["bench"]["findings"] if finding["subject"] == "run ports"]
        assert ports["seen"].startswith("8 of 9 free")
        frame = segment_words(desk.name)[1]
        sim.frame(frame + 3)


# ---- What modules print -----------------------------------------------------------------------------------------

LINES, WIDTH = 60_000, 400


def flooded(stderr):
    """Lines of the flood that arrived, and those that were dropped by what was said of them."""
    arrived = len(re.findall(r"^\[bench/far\] (FLOOD \d+ x*|all is over)$", stderr, re.M))
    dropped = sum(int(count) for count in re.findall(r"(\d+) lines? of modules dropped", stderr))
    return arrived, dropped


def peak_memory(pid):
    """In MB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def flood(desk, nodes, **execution):
    bench = nodes.start("bench")
    bench.module("trouble")
    bench.write("far.trouble", f"signal x\nstep 5 flood {LINES} {WIDTH}\nstep 8 say all is over\n")
    settings = ", ".join(f"{key}: {value}" for key, value in {"rate_hz": 100, **execution}.items())
    text = ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts)
    return bench, desk.config(re.sub(r"execution: .*", f"execution: {{ {settings} }}", text))


def test_a_flood_of_lines_is_counted(desk, nodes):
    bench, config = flood(desk, nodes, end_time=0.2)
    done = desk.run(config, timeout=120).expect(0, "completed, 20 frames")
    arrived, dropped = flooded(done.stderr)
    assert arrived > 0 and arrived + dropped == LINES + 1, f"{arrived} arrived, {dropped} dropped"
    assert peak_memory(bench.process.pid) < 200


def test_a_flood_that_nobody_reads_does_not_hold_up_the_run(desk, nodes):
    bench, config = flood(desk, nodes, end_time=0.2)
    read_end, write_end = os.pipe()
    try:
        run = subprocess.Popen([desk.hermes, "run", config, "--summary", desk.folder / "summary.json"], cwd=desk.folder,
                               env=desk.environment, stdin=subprocess.DEVNULL, stderr=write_end)
        assert run.wait(120) == 0
    finally:
        os.close(read_end)
        os.close(write_end)
    assert json.loads((desk.folder / "summary.json").read_text())["frames"] == 20
    assert peak_memory(bench.process.pid) < 200


def test_a_flood_while_the_node_is_frozen(desk, nodes):
    """A process of a run whose node reads nothing does not wait for it, and ends with the run."""
    bench, config = flood(desk, nodes, mode="single_frame")
    with Running(desk, config) as sim:
        sim.ready()
        sim.command("step", 4)
        bench.process.send_signal(signal.SIGSTOP)
        desk.command("step", desk.name, 2)  # done, or the node is found to be lost before
        assert "bench" in sim.finish().expect(2, "lost").stderr
    wait_for(lambda: not bench.others, "the run's processes there are gone")
    bench.process.send_signal(signal.SIGCONT)
    bench.says("the run is over")
    bench.write("far.trouble", "signal x\n")
    desk.run(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts)).expect(0)


def test_a_flooded_log_does_not_hold_up_the_node(desk, nodes, tmp_path):
    """hermes-node -v writes what modules print; here nobody reads it."""
    read_end, write_end = os.pipe()
    bench = nodes.start("bench")
    bench.stop()
    words = [*bench.words, "-v"]
    bench.process = subprocess.Popen(words, stderr=write_end, cwd=bench.root, env={**nodes.environment, MARK: bench.mark})
    try:
        wait_for(lambda: bench.is_listening, "it listens")
        bench.module("trouble")
        bench.write("far.trouble", "signal x\nstep 5 flood 20000 400\n")
        config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts))
        for _ in range(2):
            desk.run(config, timeout=120).expect(0, "completed, 10 frames")
        assert len(os.read(read_end, 1 << 20)) > 4096, "until the pipe was full"
        desk.command("nodes", config).expect(0)
        bench.stop()
        assert re.search(r"\d+ lines of this log dropped", os.read(read_end, 1 << 20).decode(errors="replace"))
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_host_is_waited_for(desk, nodes):
    bench = nodes.start("bench")
    bench.module("trouble")
    bench.write("far.trouble", "signal x\nstep 5 hang\n")
    config = desk.config(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts).replace("end_time", "step_timeout_s: 1, end_time"))
    done = desk.run(config).expect(2, "far", "bench")
    assert "hermes: waiting for host bench, module far, frame 5" in done.stderr.splitlines()
