"""The tools around several hosts, with real hermes-nodes on loopback: keygen, nodes, push, doctor."""
import os
import re
import stat

import pytest


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
    bench.write("far.trouble", "signal x\nstage say hello from afar\n")
    key = ["--key", nodes.key] if keys else []
    done = desk.run(ONE_REMOTE.format(name=desk.name, hosts=nodes.hosts), *key)
    done.expect(0, "bench/far", "hello from afar")
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
