"""What those cost a node who only come: hundreds of connections that say nothing, half a greeting, or a message that never ends.
Memory stays within bounds, and who has a right to speak is heard meanwhile.
"""
import contextlib
import hashlib
import secrets
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from conftest import Running, wait_for
from fuzz_node import MESSAGES
from hosts import Keys, hosts  # noqa: F401 (a fixture)
from zmtp import LONG, MORE, Connection, control, frame, greeting, ready

STRANGERS = 400
ROOM = 64 << 20
"""Bytes by which a process may have grown at any moment."""
PIECE = bytes(1 << 16)


def resident(pid):
    """Bytes of a process's memory; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


class Crowd:
    """Strangers, a quarter of them each with one kind of bad manners, who come again as often as they are shown out."""

    def __init__(self, address, mechanism, kinds, count=STRANGERS):
        self.address, self.mechanism, self.kinds, self.count = address, mechanism, kinds, count
        self.is_over = threading.Event()
        self.sockets, self.sent, self.came = {}, 0, 0

    def __enter__(self):
        self.thread = threading.Thread(target=self.besiege)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        for one in self.sockets.values():
            one.close()

    def besiege(self):
        while not self.is_over.is_set():
            for number in range(self.count):
                if self.is_over.is_set():
                    return
                kind = self.kinds[number % len(self.kinds)]
                if number not in self.sockets:
                    with contextlib.suppress(OSError):
                        self.sockets[number] = self.come(kind)
                        self.came += 1
                elif kind != "silent":
                    self.push(number)

    def come(self, kind):
        one = socket.create_connection(self.address, 2)
        one.setblocking(False)
        with contextlib.suppress(OSError):
            if kind == "half":
                one.send(greeting(self.mechanism)[:40])
            elif kind == "wide":
                # A message as long as any may be, before it is known who speaks.
                one.send(greeting(self.mechanism) + struct.pack(">BQ", LONG, 2 << 20))
            elif kind == "command":
                one.send(greeting(self.mechanism) + struct.pack(">BQ", LONG | 4, 2 << 20))
            elif kind == "parts":
                one.send(greeting(self.mechanism) + ready() + (frame(control(*("hello", 1, MESSAGES[0][1]))) if secrets.randbelow(2) else b""))
        return one

    def push(self, number):
        piece = frame(PIECE, MORE) if self.kinds[number % len(self.kinds)] == "parts" else PIECE
        try:
            for _ in range(4):
                self.sent += self.sockets[number].send(piece)
        except BlockingIOError:
            return
        except OSError:
            self.sockets.pop(number).close()


def besieged(hosts, pid, crowd, meanwhile):
    """The most that a process grew by while strangers were there and `meanwhile` was done."""
    before = most = resident(pid)
    with crowd:
        wait_for(lambda: crowd.came >= STRANGERS, "the strangers are there")
        thread = threading.Thread(target=meanwhile)
        thread.start()
        limit = time.monotonic() + 60
        while (thread.is_alive() or crowd.came < 2 * STRANGERS) and time.monotonic() < limit:
            most = max(most, resident(pid))
            time.sleep(0.005)
        thread.join(60)
    return most - before


@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
def test_strangers_at_the_endpoint(hosts, keys):
    if keys:
        hosts.key = Keys(hosts.desk.folder, "desk")
        hosts.add("a", keys=Keys(hosts.desk.folder, "node-a"), accept=hosts.key.public_file).start()
    else:
        hosts.start("a")
    node, served = hosts["a"], []
    hosts.reference()

    def serve():
        for _ in range(2):
            hosts.serves("a-a")
            served.append(True)
    kinds = ["silent", "half", "wide", "command"] + ([] if keys else ["parts"])
    crowd = Crowd(("127.0.0.1", node.port), b"CURVE" if keys else b"NULL", kinds)
    grown = besieged(hosts, node.process.pid, crowd, serve)
    assert len(served) == 2, f"no run came about among {STRANGERS} strangers\n{node.said[-2000:]}"
    assert grown < ROOM, f"the node grew by {grown >> 20} MB for {crowd.sent >> 20} MB of strangers"
    assert node.process.poll() is None
    assert len(node.said.splitlines()) < 100, "strangers fill the log"
    hosts.serves("a-a")


def test_a_message_that_never_ends(hosts):
    """Its parts are kept until the last: so many as come to 16 MiB."""
    node = hosts.start("a")["a"]
    before = node.resident()
    with Connection(("127.0.0.1", node.port)).shake_hands() as connection:
        connection.ask("hello", 1, MESSAGES[0][1])
        sent = 0
        with pytest.raises(OSError):
            while sent < 4 << 30:
                connection.write(frame(PIECE, MORE))
                sent += len(PIECE)
        assert sent < 512 << 20, "the node takes whatever comes"
    assert node.resident() < before + ROOM
    hosts.serves("aaa")


def test_a_caller_that_says_much_in_whole_messages(hosts):
    """Bounds are of what is not whole: one who talks all day is not cut."""
    node = hosts.start("a")["a"]
    message = frame(control("ping", 1, {"filling": "x" * 500_000}))
    with Connection(("127.0.0.1", node.port)).shake_hands() as connection:
        connection.ask("hello", 1, MESSAGES[0][1])
        for _ in range(100):
            connection.write(message)
            assert connection.read_message()


def test_strangers_at_a_runs_port(hosts):
    """While it is met, and while it runs."""
    node = hosts.start("a")["a"]
    done = []
    with Running(hosts.desk, hosts.ring("a-a", mode="realtime", end_time=3), "--digest", record=False) as sim:
        sim.ready()
        port = int(node.says("a run begins on port").split("port ")[1].split(",")[0])
        crowd = Crowd(("127.0.0.1", port), b"PLAIN", ["silent", "half", "wide", "command"])
        grown = besieged(hosts, node.worker(), crowd, lambda: done.append(sim.finish(60)))
    assert done[0].expect(0).stdout == hosts.reference(end_time=3), "the run was disturbed"
    assert grown < ROOM, f"the run's process grew by {grown >> 20} MB for {crowd.sent >> 20} MB of strangers"


def test_uploads_of_a_sender_that_vanished(hosts):
    """They are forgotten with its connection, and their places are free."""
    node = hosts.start("a")["a"]
    piece = {"offset": 0, "total": 2, "isExecutable": False, "bytes": "YQ=="}
    with Connection(("127.0.0.1", node.port)).shake_hands() as connection:
        for upload in range(16):
            answer = connection.ask("put", upload + 1, {**piece, "upload": upload, "path": f"left/{upload}"})
            assert answer["say"] == "took", answer
        with Connection(("127.0.0.1", node.port)).shake_hands() as other:
            assert "already" in other.ask("put", 1, {**piece, "upload": 1, "path": "other"})["body"]["cause"]
    pushed = node.root / ".hermes-push"
    wait_for(lambda: not pushed.exists(), "the uploads are gone, well before 30 s", 10)
    with Connection(("127.0.0.1", node.port)).shake_hands() as other:
        for upload in range(16):
            assert other.ask("put", 1, {**piece, "upload": upload, "path": f"new/{upload}"})["say"] == "took"
        whole = {"upload": 99, "path": "new/0", "offset": 1, "total": 2, "isExecutable": False, "bytes": "Yg==",
                 "hash": hashlib.sha256(b"ab").hexdigest()}
        assert other.ask("put", 2, {**whole, "upload": 0})["body"] == {"received": 2}
    assert (node.root / "new/0").read_bytes() == b"ab"
