"""What looks at a run or steers it from outside: nothing a client does, or leaves undone, holds up a frame or the end."""
import json
import os
import signal
import socket
import threading
import time

import pytest
from conftest import Running, segment_words, wait_for
from hosts import Hosts, hosts  # noqa: F401  the fixture

STATE_ENDED = 4


# ---- While a run ends

def test_a_command_to_a_run_that_is_ending_says_so(desk):
    """Its modules have terminated and its recording is still being written: the segment is there and says that it has ended."""
    desk.module("trouble")
    desk.write("m.trouble", "signals 400\n")
    config = f"""version: "0.2"
name: {desk.name}
modules:
  m: {{ type: process, executable: ./trouble, config: ./m.trouble, signals: [{{ name: s1, writable: true }}] }}
execution: {{ mode: realtime, rate_hz: 200 }}
"""
    pipe = desk.folder / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Running(desk, config, "--record", pipe, record=False) as run:
        run.ready().frame(200)  # more than a pipe holds
        run.process.send_signal(signal.SIGTERM)
        run.until(lambda: (segment_words(desk.name) or (0, 0))[0] == STATE_ENDED, "its modules have terminated")
        for words in (["get", desk.name, "m.s1"], ["set", desk.name, "m.s1=1"], ["list-signals", desk.name]):
            desk.command(*words).expect(2, desk.name, "has ended")
            assert segment_words(desk.name)[0] == STATE_ENDED, "the run was over; the test has missed its subject"
        os.set_blocking(reader, True)
        drained = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")])
        drained.start()
        assert run.finish().code == 130
        drained.join()
    os.close(reader)


# ---- Clients of the control socket

class Client:
    """One connection to a run's control.sock: a line of JSON there, one back."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"/dev/shm/hermes-{os.getuid()}/{name}/control.sock")
        self.file = self.socket.makefile("rb")

    def say(self, **request):
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def hear(self, seconds=30):
        self.socket.settimeout(seconds)
        try:
            line = self.file.readline()
        except ConnectionResetError:  # closed, with something of ours unread
            return None
        return json.loads(line) if line else None

    def ask(self, **request):
        self.say(**request)
        return self.hear()

    def push(self, data, seconds=2):
        """Sends as much as goes, without ever reading; how much that was."""
        self.socket.settimeout(seconds)
        sent = 0
        try:
            while sent < len(data):
                sent += self.socket.send(data[sent:sent + (1 << 20)])
        except OSError:
            pass
        return sent


SIGNALS = 20_000


def run_of(hosts, mode, rate, name=None):
    """Many signals on each of two hosts, or on the desk alone, and a module beside them."""
    hosts.start("ab")
    everything = {"big_a": ("a", f"signals {SIGNALS // 2}"), "big_b": ("b", f"signals {SIGNALS // 2}")}
    config = hosts.config(everything, mode=mode, rate_hz=rate)
    return Running(hosts.desk, config, "--summary", "out.json", record=False)


def overruns_are_few(run, frames):
    """A frame that a client held up would have taken many behind it along."""
    done = json.loads((run.desk.folder / "out.json").read_text())
    assert done["frames"] >= frames, done
    return done


def listing(name):
    return Client(name).ask(command="signals")["signals"]


def hostile(name, signals):
    """Clients that do what no client should. They are kept: a connection that is closed holds up nobody."""
    kept = []

    def add(data):
        client = Client(name)
        client.push(data)
        kept.append(client)

    everything = json.dumps({"command": "sample", "slots": list(range(signals))}).encode() + b"\n"
    add(b'{"command":"resume"}\n' * 20_000)
    add(everything * 40)
    add(b'{"command":"signals"}\n' * 200)
    add(b'{"command":"sta')
    add(b'{"command":"' + b"x" * (17 << 20))
    add(b"[" * (1 << 20) + b"\n")
    add(b"\0\xff\n" * 5000)
    add(b'{"command":"sample","slots":[-1,9223372036854775807,4294967296]}\n' * 100)
    add(b'{"command":"write","slots":[0],"bits":[]}\n' * 100)
    add(b'{"command":"step","count":18446744073709551615}\n' * 1000)
    add(b'{"command":"mode","mode":"realtime"}\n' * 5000)
    return kept


@pytest.mark.parametrize("rate", [200])
def test_hostile_clients_do_not_touch_a_realtime_run(hosts, rate):
    with run_of(hosts, "realtime", rate) as run:
        run.ready()
        began, base = time.monotonic(), Client(run.name).ask(command="status")["status"]["frame"]
        kept = hostile(run.name, SIGNALS)
        kept += [Client(run.name) for _ in range(90)]
        # Everybody else is served meanwhile, and the frames keep their pace.
        run.command("status")
        values = run.command("get", "big_*").stdout.splitlines()
        assert len(values) == SIGNALS
        assert len({line.split("=")[1] for line in values}) == 1, "values of several frames in one answer"
        frame = Client(run.name).ask(command="status")["status"]["frame"]
        elapsed = time.monotonic() - began
        assert frame - base >= 0.5 * rate * elapsed, "frames fell behind"
        assert frame - base <= 1.1 * rate * elapsed + 5, "frames came too early: deadlines were moved"
        run.process.send_signal(signal.SIGINT)
        assert run.finish(timeout=20).code == 130
        done = json.loads((run.desk.folder / "out.json").read_text())
        assert done["frames"] >= frame
        # 80 ms of JSON on the thread that runs the frames were 16 of these at once.
        assert done.get("resynchronised") in (None, 0)
        del kept


def test_hostile_clients_do_not_touch_a_run_at_full_speed(hosts):
    with run_of(hosts, "afap", 1000) as run:
        run.ready()
        kept = hostile(run.name, SIGNALS) + [Client(run.name) for _ in range(90)]
        before = Client(run.name).ask(command="status")["status"]["frame"]
        run.until(lambda: Client(run.name).ask(command="status")["status"]["frame"] > before + 100, "frames go on")
        assert run.command("get", "big_a.s0").stdout.strip().isdigit()
        run.command("stop")
        assert run.finish(timeout=20).code == 0
        del kept


def test_values_of_all_hosts_are_of_one_frame(hosts):
    """Asked of a run that goes on at full speed, and of one that is paused, where only the answers themselves move."""
    with run_of(hosts, "afap", 1000) as run:
        run.ready()
        slots = [0, SIGNALS // 2, SIGNALS - 1, 1]
        client = Client(run.name)
        for _ in range(200):
            answer = client.ask(command="sample", slots=slots)
            assert len(answer["bits"]) == 4 and len(set(answer["bits"])) == 1, answer
        run.command("pause")
        frame = client.ask(command="status")["status"]["frame"]
        for _ in range(20):
            answer = client.ask(command="sample", slots=slots)
            assert answer["frame"] == frame and len(set(answer["bits"])) == 1
        assert "no such signal" in client.ask(command="sample", slots=[0, SIGNALS])["error"]
        run.command("stop")
        assert run.finish().code == 0


# ---- Places

def test_idle_clients_make_room(desk):
    desk.module("trouble")
    desk.write("m.trouble", "signal x\n")
    config = f"""version: "0.2"
name: {desk.name}
modules:
  m: {{ type: process, executable: ./trouble, config: ./m.trouble }}
execution: {{ mode: realtime, rate_hz: 100 }}
"""
    with Running(desk, config, record=False) as run:
        run.ready()
        idle = [Client(desk.name) for _ in range(64)]
        for client in idle[1:]:  # the first is idle for longest
            assert client.ask(command="status")["status"]["name"] == desk.name
        late = Client(desk.name)
        assert late.ask(command="status")["status"]["state"] == "running"
        assert "idle the longest" in idle[0].hear()["error"]
        assert idle[0].hear() is None
        assert idle[5].ask(command="pause")["frame"] >= 0, "the others keep their places"
        for verb in ("status", "resume", "get"):
            run.command(verb, *(["m.x"] if verb == "get" else []))
        # All places are taken by those who wait for an answer.
        run.command("pause")
        waiting = [Client(desk.name) for _ in range(64)]
        for client in waiting:
            client.say(command="step", count=10**6)
        wait_for(lambda: "have room beside them" in (Client(desk.name).ask(command="signals") or {}).get("error", ""),
                 "all places are taken")
        run.command("status")
        run.command("stop")
        assert run.finish().code == 0
        assert "not reached" in waiting[0].hear()["error"] or waiting[0].hear() is None


def test_a_client_that_never_reads_is_dropped(desk):
    desk.module("trouble")
    desk.write("m.trouble", f"signals {SIGNALS}\n")
    config = f"""version: "0.2"
name: {desk.name}
modules:
  m: {{ type: process, executable: ./trouble, config: ./m.trouble }}
execution: {{ mode: realtime, rate_hz: 50 }}
"""
    with Running(desk, config, record=False) as run:
        run.ready()
        client = Client(desk.name)
        client.push(b'{"command":"signals"}\n' * 1000, seconds=1)
        half = Client(desk.name)
        half.socket.sendall(b'{"command":"status"')
        run.says("a client", f"pid {os.getpid()}", "dropped", seconds=40)
        half.socket.sendall(b"}\n")
        assert half.hear()["status"]["name"] == desk.name, "a slow one is served"
        run.process.send_signal(signal.SIGTERM)
        assert run.finish().code == 130


def test_a_request_may_come_in_pieces_and_end_with_the_connection(desk):
    desk.module("trouble")
    desk.write("m.trouble", "signal x\n")
    config = f"""version: "0.2"
name: {desk.name}
modules:
  m: {{ type: process, executable: ./trouble, config: ./m.trouble }}
execution: {{ mode: single_frame, rate_hz: 100 }}
"""
    with Running(desk, config, record=False) as run:
        run.ready()
        client = Client(desk.name)
        for byte in b'{"command":"step","count":3}\n':
            client.socket.sendall(bytes([byte]))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.hear()["frame"] == 3, "half closed, it is answered"
        assert client.hear() is None
        many = Client(desk.name)
        many.socket.sendall(b'{"command":"step"}\n' * 500)
        answers = [many.hear() for _ in range(500)]
        assert [answer["frame"] for answer in answers] == sorted(answer["frame"] for answer in answers)
        assert answers[-1]["frame"] == 503
        long = Client(desk.name)
        long.push(b" " * (17 << 20))
        assert "16 MiB" in long.hear()["error"] and long.hear() is None
        run.command("stop")
        assert run.finish().code == 0
