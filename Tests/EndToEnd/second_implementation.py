"""The protocol once more, from docs/protocol.md alone: a `Node` that takes part in runs of `hermes run`, and a `Coordinator`
that drives a `hermes-node`. Nothing here looks at how Hermes does it. Numbers of sections are those of the page.

Whatever is heard is shown to `heard(say, body)`, so that the tests can hold the page to it.
"""
import collections
import contextlib
import json
import math
import os
import queue
import secrets
import select
import socket
import struct
import tempfile
import threading
import time
from types import SimpleNamespace

import nacl.bindings as sodium
import zmq
from nacl.exceptions import CryptoError
from zmq.utils import z85

VERSION = 1
STEP, DONE, MIRROR, PROBE, CONTROL = 1, 2, 3, 4, 5
HEADER = struct.Struct("<IBBHQIIQ")
MAGIC = 0x464D5248
LONGEST = 64 << 20
MEETING = 15.0
"""Seconds in which a run's coordinator must have said something."""


class Lost(Exception):
    """A participant's connection ended."""

    def __init__(self, peer):
        super().__init__(f"lost participant {peer}")
        self.peer = peer


class Told(Exception):
    """The run is to end: an urgent word waits, or the node said so."""


class Failed(Exception):
    """What goes into `failed`."""

    def __init__(self, code, cause, **place):
        super().__init__(cause)
        self.body = {"code": code, "cause": cause, "lastLines": [], **place}


def control(say, body=None, number=0):
    """Section 4."""
    return json.dumps({"hermes": VERSION, "id": number, "say": say, "body": body or {}}).encode()


def named(token, index):
    return b"h" + index.to_bytes(2, "little") + token.encode()


# ---- A participant's end of a run's links: sections 2, 3, 6 and 10 ----------------------------------------------

class Link:
    def __init__(self, run, index, participants, security, liveness):
        self.run, self.index, self.security = run, index, security
        self.names = [named(security["token"], number) for number in range(participants)]
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        for option, value in [
            (zmq.ROUTING_ID, self.names[index]), (zmq.ROUTER_MANDATORY, 1), (zmq.LINGER, 500), (zmq.MAXMSGSIZE, LONGEST),
            (zmq.SNDHWM, 0), (zmq.RCVHWM, 0), (zmq.IPV6, 1), (zmq.RECONNECT_IVL, -1), (zmq.HANDSHAKE_IVL, 5000),
            (zmq.HEARTBEAT_IVL, int(max(liveness, 0.1) * 50)), (zmq.HEARTBEAT_TIMEOUT, int(max(liveness, 0.1) * 850)),
        ]:
            self.socket.setsockopt(option, value)
        self.events = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.bell = None
        self.doorman = None
        self.proved = {}
        """Peers that have proved their link, with the descriptor of the connection: that is how ZeroMQ tells of its end."""
        self.mirrors = [collections.deque() for _ in self.names]
        self.words = collections.deque()
        self.urgent = 0
        self.gone = []
        self.is_told = False
        self.dropped = 0

    def close(self):
        self.socket.disable_monitor()
        self.events.close(0)
        self.socket.close()
        if self.bell is not None:
            self.bell.close(0)
        if self.doorman is not None:
            self.doorman.close(0)
        self.context.term()

    def listen(self, endpoints):
        if self.doorman is None:
            self.doorman = self.context.socket(zmq.REP)
            self.doorman.bind("inproc://zeromq.zap.01")
        if self.security.get("secretKey"):
            self.socket.setsockopt(zmq.CURVE_SERVER, 1)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, self.security["secretKey"].encode())
        else:
            self.socket.setsockopt(zmq.PLAIN_SERVER, 1)
        for endpoint in endpoints:
            self.socket.bind(endpoint)

    def dial(self, peer, endpoint):
        if self.security.get("secretKey"):
            self.socket.setsockopt(zmq.CURVE_SERVER, 0)
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, self.security["publicKey"].encode())
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, self.security["secretKey"].encode())
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, self.security["participants"][peer].encode())
        else:
            self.socket.setsockopt(zmq.PLAIN_SERVER, 0)
            self.socket.setsockopt(zmq.PLAIN_USERNAME, b"hermes")
            self.socket.setsockopt(zmq.PLAIN_PASSWORD, self.security["token"].encode())
        self.socket.setsockopt(zmq.CONNECT_ROUTING_ID, self.names[peer])
        self.socket.connect(endpoint)

    def prove(self, peers, dialled, seconds=5.0):
        """The peers that did not answer."""
        for peer in dialled:
            self.send(peer, PROBE)
        limit = time.monotonic() + seconds
        while missing := [peer for peer in peers if peer not in self.proved]:
            if not self.pump(limit):
                return missing
        return []

    def send(self, peer, kind, payload=b"", phase=0, epoch=0, count=0, frame=0):
        header = HEADER.pack(MAGIC, kind, VERSION, phase, self.run, epoch, count, frame)
        try:
            self.socket.send_multipart([self.names[peer], header + payload])
        except zmq.ZMQError:
            raise Lost(peer)

    def say(self, peer, say, body=None, number=0, urgent=False):
        self.send(peer, CONTROL, control(say, body, number), phase=int(urgent))

    def pump(self, limit=None, heeds_loss=True):
        """Waits until something came, and files it; false at the limit."""
        poller = zmq.Poller()
        for socket in filter(None, (self.socket, self.events, self.bell, self.doorman)):
            poller.register(socket, zmq.POLLIN)
        while True:
            if heeds_loss and self.is_told:
                raise Told
            if heeds_loss and self.gone:
                raise Lost(self.gone[0])
            wait = None if limit is None else max(0, math.ceil((limit - time.monotonic()) * 1000))
            ready = dict(poller.poll(wait))
            if not ready:
                return False
            if self.doorman in ready:
                self.answer_doorman()
            if self.bell in ready:
                self.bell.recv()
                self.is_told = True
            if self.events in ready:
                _, descriptor = struct.unpack("<Hi", self.events.recv_multipart()[0])
                self.gone += [peer for peer, own in self.proved.items() if own == descriptor]
            if self.socket in ready:
                self.file(*self.socket.recv_multipart(copy=False))
                return True

    def file(self, sender, *parts):
        name = sender.bytes
        if len(parts) != 1 or name not in self.names or name == self.names[self.index] or len(parts[0].bytes) < HEADER.size:
            self.dropped += 1
            return
        peer, message = self.names.index(name), parts[0].bytes
        magic, kind, _, phase, run, epoch, count, frame = HEADER.unpack_from(message)
        header = SimpleNamespace(kind=kind, phase=phase, epoch=epoch, count=count, frame=frame)
        if magic != MAGIC or run != self.run or kind not in (STEP, DONE, MIRROR, PROBE, CONTROL):
            self.dropped += 1
        elif kind == PROBE:
            self.proved[peer] = parts[0].get(zmq.SRCFD)
            if count == 0:
                self.send(peer, PROBE, count=1)
        elif kind == MIRROR:
            self.mirrors[peer].append((header, message[HEADER.size:]))
        else:
            self.urgent += kind == CONTROL and phase == 1
            self.words.append((peer, header, message[HEADER.size:]))

    def word(self, limit=None, heeds_loss=True):
        """The next that is no mirror: sender, header, what follows; None at the limit."""
        while not self.words:
            if not self.pump(limit, heeds_loss):
                return None
        peer, header, payload = self.words.popleft()
        self.urgent -= header.kind == CONTROL and header.phase == 1
        return peer, header, payload

    def mirror(self, peer, epoch, frame, phase, count, limit=None):
        """The values that are due; what comes early waits behind them."""
        while True:
            while not self.mirrors[peer]:
                if self.urgent:
                    raise Told
                if not self.pump(limit):
                    raise Failed("timeout", f"participant {peer} has not sent its values")
            header, payload = self.mirrors[peer].popleft()
            if header.epoch < epoch:
                continue
            if (header.epoch, header.frame, header.phase, header.count, len(payload)) != (epoch, frame, phase, count, 8 * count):
                raise Failed("protocol", f"participant {peer} sent frame {header.frame}, phase {header.phase} where frame "
                                         f"{frame}, phase {phase} was due")
            return payload

    def answer_doorman(self):
        """ZAP: version, request, domain, address, identity, mechanism, credentials."""
        version, request, _, _, _, mechanism, *credentials = self.doorman.recv_multipart()
        if self.security.get("secretKey"):
            passes = mechanism == b"CURVE" and z85.encode(credentials[0]).decode() in self.security["participants"]
        else:
            passes = mechanism == b"PLAIN" and credentials[1] == self.security["token"].encode()
        code, text = (b"200", b"OK") if passes else (b"400", b"not accepted")
        self.doorman.send_multipart([version, request, code, text, b"", b""])


# ---- Mirror streams: section 14 ---------------------------------------------------------------------------------

HELLO = struct.Struct("<IBBHHH")
PROOF = struct.Struct("<QIHH")
LENGTH = struct.Struct("<I")
SEALED, PLAIN = 69, 92


def hello(run, speaker, spoken_to, token, key):
    """The bytes, and the state that seals what follows; None where it is plain."""
    head = HELLO.pack(0x534D5248, 1, bool(key), speaker, spoken_to, 0)
    proof = PROOF.pack(run, 0, speaker, spoken_to)
    if not key:
        return head + proof + token.encode().ljust(64, b"\0"), None
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    header = sodium.crypto_secretstream_xchacha20poly1305_init_push(state, bytes.fromhex(key))
    return head + header + sodium.crypto_secretstream_xchacha20poly1305_push(state, proof, head), state


class Stream:
    """The mirrors with one peer. It sends from a list of its own, as if its memory had no end."""

    def __init__(self, connection, sealing, opening):
        self.connection, self.sealing, self.opening = connection, sealing, opening
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.outgoing, self.incoming = bytearray(), bytearray()

    @property
    def is_sealed(self):
        return self.sealing is not None

    def put(self, message):
        if self.sealing:
            message = sodium.crypto_secretstream_xchacha20poly1305_push(self.sealing, message)
        self.outgoing += LENGTH.pack(len(message)) + message

    def move(self):
        """Gives and takes what the kernel lets it; false when the connection has ended."""
        with contextlib.suppress(BlockingIOError):
            while self.outgoing:
                del self.outgoing[:self.connection.send(self.outgoing)]
        with contextlib.suppress(BlockingIOError):
            while data := self.connection.recv(1 << 16):
                self.incoming += data
            return False
        return True

    def record(self):
        """The next whole one; None when it is not there yet."""
        if len(self.incoming) < 4:
            return None
        (length,) = LENGTH.unpack_from(self.incoming)
        if len(self.incoming) < 4 + length:
            return None
        record = bytes(self.incoming[4:4 + length])
        del self.incoming[:4 + length]
        if self.opening:
            record, _ = sodium.crypto_secretstream_xchacha20poly1305_pull(self.opening, record)
        return record


class Streams:
    """All streams of a participant."""

    def __init__(self, link):
        self.link, self.streams, self.doors, self.folder = link, {}, [], None

    def offer(self, address=None, ports=()):
        """The place in `opened`: the first port of `ports` that is free, and a socket file."""
        self.folder = tempfile.TemporaryDirectory(prefix="second-")
        path = f"{self.folder.name}/mirrors"
        file = socket.socket(socket.AF_UNIX)
        file.bind(path)
        self.doors.append(file)
        place = {"path": path,
                 "machine": f"{open('/proc/sys/kernel/random/boot_id').read().strip()} {os.readlink('/proc/self/ns/net')}"}
        for port in ports:
            door = socket.socket()
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                door.bind((address, port))
            except OSError:
                door.close()
                continue
            self.doors.append(door)
            place["port"] = port
            break
        for door in self.doors:
            door.listen()
        return place

    def close(self):
        for stream in self.streams.values():
            stream.connection.close()
        self.close_doors()

    def close_doors(self):
        for door in self.doors:
            door.close()
        self.doors = []
        if self.folder:
            self.folder.cleanup()
            self.folder = None

    def meet(self, peers, seconds=5.0):
        """Has a stream with every peer of a list like that of `setup`."""
        limit = time.monotonic() + seconds
        for peer in peers:
            if peer.get("path") or peer.get("endpoint"):
                self.streams[peer["index"]] = self.dial(peer, limit)
        coming = {peer["index"]: peer for peer in peers if not (peer.get("path") or peer.get("endpoint"))}
        while coming:
            ready, _, _ = select.select(self.doors, [], [], max(0, limit - time.monotonic()))
            if not ready:
                raise Failed("lost", f"is not reached for mirrors by {sorted(coming)}")
            connection, _ = ready[0].accept()
            connection.settimeout(1)
            try:
                index, opening = self.hear(connection, coming)
            except (OSError, CryptoError, ValueError):
                connection.close()
                continue
            self.streams[index] = Stream(connection, self.speak(connection, coming.pop(index)), opening)
        self.close_doors()

    def dial(self, peer, limit):
        while True:
            try:
                if peer.get("path") and os.access(peer["path"], os.W_OK):
                    connection = socket.socket(socket.AF_UNIX)
                    connection.connect(peer["path"])
                else:
                    host, _, port = peer["endpoint"][6:].rpartition(":")
                    connection = socket.create_connection((host, int(port)))
                break
            except OSError:
                if time.monotonic() > limit:
                    raise Failed("lost", f"does not reach {peer['index']} for mirrors")
                time.sleep(0.02)
        connection.settimeout(max(0.1, limit - time.monotonic()))
        sealing = self.speak(connection, peer)
        _, opening = self.hear(connection, {peer["index"]: peer})
        return Stream(connection, sealing, opening)

    def speak(self, connection, peer):
        key = None if connection.family == socket.AF_UNIX else peer.get("sendKey")
        words, state = hello(self.link.run, self.link.index, peer["index"], self.link.security["token"], key)
        connection.sendall(words)
        return state

    def hear(self, connection, peers):
        """Who speaks, one of `peers`, and the state that opens what follows; `ValueError` for anybody else."""
        head = exactly(connection, HELLO.size)
        magic, version, is_sealed, speaker, spoken_to, zero = HELLO.unpack(head)
        if (magic, version, spoken_to, zero) != (0x534D5248, 1, self.link.index, 0) or is_sealed > 1 or speaker not in peers:
            raise ValueError
        key = None if connection.family == socket.AF_UNIX else peers[speaker].get("receiveKey")
        if is_sealed != bool(key):
            raise ValueError
        proof = PROOF.pack(self.link.run, 0, speaker, self.link.index)
        if not key:
            if exactly(connection, PLAIN - HELLO.size) != proof + self.link.security["token"].encode().ljust(64, b"\0"):
                raise ValueError
            return speaker, None
        state = sodium.crypto_secretstream_xchacha20poly1305_state()
        rest = exactly(connection, SEALED - HELLO.size)
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, rest[:24], bytes.fromhex(key))
        if sodium.crypto_secretstream_xchacha20poly1305_pull(state, rest[24:], head)[0] != proof:
            raise ValueError
        return speaker, state

    def send(self, peer, message):
        self.streams[peer].put(message)

    def flush(self):
        """Until the kernel has everything."""
        while any(stream.outgoing for stream in self.streams.values()):
            self.wait(None)

    def mirror(self, peer, epoch, frame, phase, count, limit=None):
        while True:
            try:
                while (record := self.streams[peer].record()) is None:
                    if not self.wait(limit):
                        raise Failed("timeout", f"participant {peer} has not sent its values")
            except CryptoError:
                raise Failed("protocol", f"participant {peer} sent what its key has not sealed")
            magic, kind, _, of_phase, run, of_epoch, of_count, of_frame = HEADER.unpack_from(record)
            if (magic, kind, run) != (MAGIC, MIRROR, self.link.run):
                raise Failed("protocol", f"participant {peer} sent what is no mirror")
            if of_epoch < epoch:
                continue
            payload = record[HEADER.size:]
            if (of_epoch, of_frame, of_phase, of_count, len(payload)) != (epoch, frame, phase, count, 8 * count):
                raise Failed("protocol", f"participant {peer} sent frame {of_frame}, phase {of_phase} where frame {frame}, phase {phase} was due")
            return payload

    def wait(self, limit):
        """Until a stream moves, or the node says something to this run; false at the limit."""
        poller = zmq.Poller()
        for stream in self.streams.values():
            poller.register(stream.connection, zmq.POLLIN | (zmq.POLLOUT if stream.outgoing else 0))
        asides = list(filter(None, (self.link.bell, self.link.events, self.link.socket)))
        for waiting in asides:
            poller.register(waiting, zmq.POLLIN)
        ready = dict(poller.poll(None if limit is None else max(0, math.ceil((limit - time.monotonic()) * 1000))))
        if any(waiting in ready for waiting in asides):
            self.link.pump(time.monotonic())
            if self.link.urgent:
                raise Told
        for peer, stream in self.streams.items():
            if stream.connection.fileno() in ready:
                try:
                    if not stream.move() and not stream.incoming:
                        raise Lost(peer)
                except OSError:
                    raise Lost(peer)
        return bool(ready)


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ValueError
        data += more
    return data


# ---- Values: sections 4 and 8 -----------------------------------------------------------------------------------

FORMS = ["<d", "<f", "<q", "<i", "<?"]


def value_of(slot, kind):
    return struct.unpack_from(FORMS[kind], slot)[0]


def slot_of(value, kind):
    return struct.pack(FORMS[kind], value).ljust(8, b"\0")


def in_type(value, kind):
    if kind == 0:
        return value
    if kind == 1:
        try:
            return struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            return math.copysign(math.inf, value)
    if kind == 4:
        return value != 0
    if math.isnan(value):
        return 0
    most = 2**63 if kind == 2 else 2**31
    return max(-most, min(most - 1, round(value) if math.isfinite(value) else int(math.copysign(most, value))))


class Values:
    """A host's slots: its signals, the inbox, the outbox."""

    def __init__(self, share):
        self.count = len(share["signals"])
        self.inbox, self.outbox = 8 * self.count, 8 * (self.count + share["inboxCount"])
        self.memory = bytearray(self.outbox + 8 * share["outboxCount"])

    def __getitem__(self, slot):
        return bytes(self.memory[8 * slot:8 * slot + 8])

    def __setitem__(self, slot, value):
        self.memory[8 * slot:8 * slot + 8] = value

    def deliver(self, table):
        """Every source is read before any destination is written."""
        changes = []
        for source, destination, count in groups(table["runs"], 3):
            changes += [(destination + at, self[source + at]) for at in range(count)]
        changes += [(destination, self[source]) for source, destination in groups(table["copies"], 2)]
        for wire, (gain, offset) in zip(groups(table["conversions"], 4), groups(table["factors"], 2)):
            source, destination, source_type, destination_type = wire
            scaled = float(value_of(self[source], source_type)) * gain
            changes.append((destination, slot_of(in_type(scaled + offset, destination_type), destination_type)))
        for destination, value in changes:
            self[destination] = value


def groups(flat, size):
    return [tuple(flat[at:at + size]) for at in range(0, len(flat), size)]


# ---- A node: sections 5 and 7 to 11 -----------------------------------------------------------------------------

class Node:
    """Answers at an endpoint, with a thread for each run. `with Node(endpoint, make_module): ...`

    `make_module(item)` gives the module that an entry of `launch` asks for: an object with `signals` (as in `announced`),
    `stage()`, `reset()`, `step(dt, frame, time)`, `terminate()`, `read(name, kind)` and `hand_over(name, value, kind)`,
    where values are numbers of Python and kinds are those of section 4.

    `keys`: the node's own (public, secret); `accepts`: public keys of coordinators.
    """

    def __init__(self, endpoint, make_module, keys=None, accepts=(), ports=range(0), heard=lambda say, body: None):
        self.endpoint, self.make_module, self.keys, self.accepts = endpoint, make_module, keys, accepts
        self.ports, self.heard = ports, heard
        self.context = zmq.Context()
        self.runs = {}
        self.past = []
        """Every run that there was."""

    def __enter__(self):
        self.socket = self.context.socket(zmq.ROUTER)
        self.doorman = self.context.socket(zmq.REP)
        self.doorman.bind("inproc://zeromq.zap.01")
        if self.keys:
            self.socket.setsockopt(zmq.CURVE_SERVER, 1)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys[1])
        self.socket.setsockopt(zmq.MAXMSGSIZE, LONGEST)
        self.socket.bind(self.endpoint)
        self.ears = self.context.socket(zmq.PULL)
        self.ears.bind("inproc://runs")
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.context.socket(zmq.PUSH) as mouth:
            mouth.connect("inproc://runs")
            mouth.send_json({"say": "stop"})
            self.thread.join()
        for socket in (self.socket, self.doorman, self.ears):
            socket.close(0)
        self.context.term()

    def serve(self):
        poller = zmq.Poller()
        for socket in (self.socket, self.doorman, self.ears):
            poller.register(socket, zmq.POLLIN)
        is_over = False
        while not is_over or self.runs:
            ready = dict(poller.poll())
            if self.doorman in ready:
                version, request, _, _, _, mechanism, *credentials = self.doorman.recv_multipart()
                passes = mechanism == b"CURVE" and z85.encode(credentials[0]) in self.accepts
                self.doorman.send_multipart([version, request, b"200" if passes else b"400", b"", b"", b""])
            if self.ears in ready:
                event = self.ears.recv_json()
                if event["say"] == "stop":
                    is_over = True
                    for run in self.runs.values():
                        run.end()
                else:
                    run = self.runs.pop(event["run"])
                    run.join()
                    run.bell.close(0)
                    gone = {"run": event["run"], **({"cause": event["cause"]} if event["cause"] else {})}
                    self.socket.send_multipart([run.owner, control("gone", gone)])
            if self.socket in ready:
                caller, *parts = self.socket.recv_multipart()
                with contextlib.suppress(ValueError):
                    (part,) = parts
                    self.answer(caller, json.loads(part))

    def answer(self, caller, message):
        say, body, number = message["say"], message["body"], message["id"]
        self.heard(say, body)
        if say == "hello":
            reply = control("welcome", {
                "version": "0.2.0-second", "protocolVersion": VERSION, "oldestProtocol": VERSION, "clockNanoseconds": time.time_ns(),
                "cores": 1, "memory": 1 << 30, "running": [run.name for run in self.runs.values()],
                "machine": {"architecture": "python", "processor": "python", "features": [], "libc": "python"}}, number)
        elif say == "open" and any(run.name == body["simulation"] for run in self.runs.values()):
            reply = control("refused", {"cause": f"{body['simulation']} already runs there"}, number)
        elif say == "open":
            run = Run(self, caller, body)
            self.runs[body["run"]] = run
            self.past.append(run)
            run.start()
            reply = control("opened", run.place, number)
        elif say == "end":
            if body["run"] in self.runs:
                self.runs[body["run"]].end()
                return
            reply = control("gone", {"run": body["run"]})
        else:
            reply = control("refused", {"cause": f"this node does not know {say}"}, number)
        self.socket.send_multipart([caller, reply])


class Run(threading.Thread):
    """One run on this host."""

    def __init__(self, node, owner, body):
        super().__init__()
        self.node, self.owner, self.name, self.number, self.host = node, owner, body["simulation"], body["run"], body["host"]
        self.link = Link(body["run"], body["index"], body["participants"], body["security"], body["livenessSeconds"])
        self.place = self.listen(body)
        self.streams, self.has_streams = Streams(self.link), False
        if body.get("wantsStreams"):
            ports = [port for port in self.node.ports if port != self.place.get("port")]
            self.place["streams"] = self.streams.offer(self.address, ports)
        self.link.bell = node.context.socket(zmq.PAIR)
        self.link.bell.bind(f"inproc://run-{self.number}")
        self.bell = node.context.socket(zmq.PAIR)
        self.bell.connect(f"inproc://run-{self.number}")
        self.modules, self.share, self.values = [], None, None
        self.epoch, self.frame = 0, 0
        self.written = []
        self.peers = {0: "desk"}
        self.grants = []
        """Frames of each step, for the tests."""

    def end(self):
        """From the node's thread; a run that is just ending does not hear it."""
        with contextlib.suppress(zmq.Again):
            self.bell.send(b"end", zmq.NOBLOCK)

    @property
    def address(self):
        return self.node.endpoint[6:].rpartition(":")[0]

    def listen(self, body):
        if self.node.endpoint.startswith("ipc://"):
            path = f"{self.node.endpoint[6:]}.{self.number}"
            self.link.listen([f"ipc://{path}"])
            return {"path": path}
        address = self.address
        ports = self.node.ports
        for attempt in range(len(ports)):
            port = ports[(self.number + attempt) % len(ports)]
            try:
                self.link.listen([f"tcp://{address}:{port}"])
                return {"port": port}
            except zmq.ZMQError:
                continue
        raise AssertionError("no port is free")

    def run(self):
        cause = "this node is at fault"
        try:
            self.follow()
            cause = None
        except Told:
            cause = "was told to end"
        except Lost as loss:
            cause = f"lost {self.peers.get(loss.peer, loss.peer)}"
            if loss.peer != 0:
                self.report(Failed("lost", f"lost its link to host {self.peers[loss.peer]}", peer=self.peers[loss.peer]))
        except Failed as failure:
            cause = str(failure)
            self.report(failure)
        finally:
            for module in self.modules:
                module.terminate()
            self.streams.close()
            self.link.close()
            with self.node.context.socket(zmq.PUSH) as mouth:
                mouth.connect("inproc://runs")
                mouth.send_json({"say": "gone", "run": self.number, "cause": cause})

    def report(self, failure):
        with contextlib.suppress(Lost):
            self.link.say(0, "failed", {"host": self.host, "frame": self.frame, **failure.body}, urgent=True)

    def follow(self):
        if not self.link.words and not self.link.pump(time.monotonic() + MEETING):
            return
        while True:
            peer, header, payload = self.link.word()
            if peer != 0:
                continue
            if header.kind == STEP:
                if self.values and header.epoch == self.epoch:
                    self.step(header)
            elif header.kind == CONTROL:
                message = json.loads(payload)
                self.node.heard(message["say"], message["body"])
                if self.handle(message["say"], message["body"], message["id"]):
                    return

    def handle(self, say, body, number):
        """True when the run is over."""
        if say == "setup":
            self.set_up(body["peers"])
            if "streams" in body:
                self.has_streams = True
                self.streams.meet(body["streams"])
            else:
                self.streams.close_doors()
            self.link.say(0, "ok", number=number)
        elif say == "launch":
            self.modules = [self.node.make_module(item) for item in body["modules"]]
            announced = [{"isFree": False, "signals": module.signals} for module in self.modules]
            self.link.say(0, "announced", {"modules": announced}, number)
        elif say == "prepare":
            self.share, self.values = body, Values(body)
            self.link.say(0, "ok", number=number)
        elif say == "stage":
            self.overrides = [(slot, bits.to_bytes(8, "little")) for slot, bits in zip(body["slots"], body["bits"])]
            for module in self.in_order():
                module.stage()
            self.begin_epoch()
        elif say == "reset":
            self.epoch += 1
            for module in self.in_order():
                module.reset()
            self.begin_epoch()
        elif say == "write":
            self.written += [(slot, bits.to_bytes(8, "little")) for slot, bits in zip(body["slots"], body["bits"])]
        elif say == "sample":
            bits = [int.from_bytes(self.values[slot], "little") for slot in body["slots"]]
            self.link.say(0, "values", {"slots": body["slots"], "bits": bits}, number)
        elif say == "terminate":
            for module in self.modules:
                module.terminate()
            self.modules = []
            self.link.say(0, "ok", number=number)
            return True
        elif say != "show":
            raise Failed("protocol", f"does not know {say}")
        return False

    def set_up(self, peers):
        self.peers.update({peer["index"]: peer["host"] for peer in peers})
        dialled = [peer["index"] for peer in peers if peer.get("endpoint")]
        for peer in peers:
            if peer.get("endpoint"):
                self.link.dial(peer["index"], peer["endpoint"])
        missing = self.link.prove([peer["index"] for peer in peers], dialled)
        if missing:
            raise Failed("lost", f"has no link to {', '.join(self.peers[peer] for peer in missing)}")

    def in_order(self):
        return [self.modules[index] for phase in self.share["phases"] for index in phase]

    def signals_of(self, index):
        """Slot and signal, the name without the module."""
        entry = self.share["modules"][index]
        for slot in range(entry["firstSignal"], entry["firstSignal"] + entry["signalCount"]):
            signal = self.share["signals"][slot]
            yield slot, signal["name"].split(".", 1)[1], signal["type"], signal["bits"]

    def begin_epoch(self):
        self.frame = 0
        for index, module in enumerate(self.modules):
            for slot, name, kind, _ in self.signals_of(index):
                self.values[slot] = slot_of(module.read(name, kind), kind)
        for slot, value in self.overrides:
            self.values[slot] = value
        self.exchange(len(self.share["phases"]))
        self.done([self.row()], 0)

    def step(self, header):
        """Section 9."""
        self.grants.append(header.count)
        if header.phase == 0:
            for slot, value in self.written:
                self.values[slot] = value
            self.written = []
        rows = []
        try:
            for frame in range(header.frame, header.frame + header.count):
                self.frame = frame
                for phase, members in enumerate(self.share["phases"]):
                    for index in members:
                        if (frame - 1) % self.share["modules"][index]["divisor"] == 0:
                            self.step_module(index)
                    self.exchange(phase)
                rows.append(self.row())
        finally:
            # Also when it fails: what every host has completed is not lost.
            self.done(rows, header.frame + len(rows) - 1)

    def step_module(self, index):
        entry, module = self.share["modules"][index], self.modules[index]
        for slot, name, kind, bits in self.signals_of(index):
            if bits & 5:
                module.hand_over(name, value_of(self.values[slot], kind), kind)
        try:
            module.step(entry["dt"], self.frame, self.frame / self.share["rateHz"])
        except ArithmeticError as error:
            raise Failed("status", f"step returned 1: {error}", module=entry["name"])
        for slot, name, kind, bits in self.signals_of(index):
            if not bits & 4:
                self.values[slot] = slot_of(module.read(name, kind), kind)

    def exchange(self, phase):
        """What follows the steps of a phase, or, for the phase beyond the last, the start of an epoch."""
        share, values = self.share, self.values
        if share["gathers"]:
            values.deliver(share["gathers"][phase])
        for peer, of_phase, offset, count in groups(share["sends"][phase], 4):
            start = values.outbox + 8 * offset
            payload = bytes(values.memory[start:start + 8 * count])
            if self.has_streams:
                self.streams.send(peer, HEADER.pack(MAGIC, MIRROR, VERSION, of_phase, self.link.run, self.epoch, count, self.frame) + payload)
            else:
                self.link.send(peer, MIRROR, payload, of_phase, self.epoch, count, self.frame)
        if self.has_streams:
            self.streams.flush()
        taken = self.streams if self.has_streams else self.link
        for peer, of_phase, offset, count in groups(share["receives"][phase], 4):
            start = values.inbox + 8 * offset
            values.memory[start:start + 8 * count] = taken.mirror(peer, self.epoch, self.frame, of_phase, count)
        values.deliver(share["deliveries"][phase])

    def row(self):
        return b"".join(self.values[slot] for slot in self.share["collected"])

    def done(self, rows, last):
        self.link.send(0, DONE, b"".join(rows), phase=int(bool(self.written)), epoch=self.epoch, count=len(rows), frame=last)


# ---- A coordinator of one node: sections 5, 7 and 8 -------------------------------------------------------------

class Coordinator:
    """Speaks to a node's endpoint, and leads runs on that host alone, itself participant 0 without modules."""

    def __init__(self, endpoint, keys=None, node_key=None, heard=lambda say, body: None, patience=30.0):
        self.endpoint, self.heard, self.patience = endpoint, heard, patience
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        if node_key:
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, keys[0])
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys[1])
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, node_key)
        self.has_keys = bool(node_key)
        self.socket.setsockopt(zmq.LINGER, 200)
        self.socket.connect(endpoint)
        self.number = 0
        self.unasked = queue.SimpleQueue()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.context.term()

    def tell(self, say, body=None, number=0):
        self.socket.send(control(say, body, number))

    def ask(self, say, body=None):
        """What it is answered by, and the answer's body."""
        self.number += 1
        self.tell(say, body, self.number)
        while True:
            message = self.next()
            if message["id"] == self.number:
                return message["say"], message["body"]
            self.unasked.put(message)

    def next(self):
        assert self.socket.poll(int(self.patience * 1000)), "the node says nothing"
        message = json.loads(self.socket.recv())
        assert message["hermes"] == VERSION
        self.heard(message["say"], message["body"])
        return message

    def until_unasked(self, say):
        """The body of the next message of that name that the node says of itself."""
        while True:
            message = self.unasked.get() if not self.unasked.empty() else self.next()
            if message["id"] == 0 and message["say"] == say:
                return message["body"]

    def hello(self):
        return self.ask("hello", {"version": "0.2.0-second", "protocolVersion": VERSION, "oldestProtocol": VERSION})

    def open_body(self, simulation, **changes):
        security = {"token": secrets.token_hex(12)}
        if self.has_keys:
            pairs = [zmq.curve_keypair() for _ in range(2)]
            self.pairs = [tuple(key.decode() for key in pair) for pair in pairs]
            security.update(publicKey=self.pairs[1][0], secretKey=self.pairs[1][1], participants=[pair[0] for pair in self.pairs])
        return {"simulation": simulation, "host": "bench", "index": 1, "participants": 2, "run": secrets.randbelow(2**64 - 1) + 1,
                "security": security, "livenessSeconds": 2.0, **changes}

    @contextlib.contextmanager
    def run(self, simulation, mirrors="zeromq"):
        """A run whose link is proved. `mirrors`: `auto` a socket file, `tcp`, or `zeromq` the link."""
        body = self.open_body(simulation, **({} if mirrors == "zeromq" else {"wantsStreams": True}))
        say, opened = self.ask("open", body)
        assert say == "opened", opened
        security = dict(body["security"])
        if self.has_keys:
            security.update(publicKey=self.pairs[0][0], secretKey=self.pairs[0][1])
        lead = Lead(body["run"], security, self.heard, self.patience)
        if mirrors != "zeromq":
            lead.roads = self.roads(opened["streams"], mirrors)
        try:
            endpoint = f"ipc://{opened['path']}" if opened.get("path") else f"{self.endpoint.rpartition(':')[0]}:{opened['port']}"
            lead.link.dial(1, endpoint)
            assert lead.link.prove([1], [1]) == []
            yield lead
        finally:
            lead.streams.close()
            lead.link.close()

    def roads(self, place, mirrors):
        """What the host's `setup` has of streams, and what that of the desk would have, which dials."""
        keys = {"sendKey": secrets.token_hex(32), "receiveKey": secrets.token_hex(32)} if self.has_keys else {}
        own = {"index": 1, **keys}
        if mirrors == "auto":
            own["path"] = place["path"]
        else:
            own["endpoint"] = f"{self.endpoint.rpartition(':')[0]}:{place['port']}"
        theirs = {"sendKey": keys["receiveKey"], "receiveKey": keys["sendKey"]} if keys else {}
        return [{"index": 0, **theirs}], [own]


class Lead:
    """The coordinator's side of a run on one host, index 1."""

    def __init__(self, run, security, heard, patience):
        self.run, self.heard, self.patience = run, heard, patience
        self.link = Link(run, 0, 2, security, 2.0)
        self.streams, self.roads = Streams(self.link), None
        self.number = 0

    def set_up(self):
        """`setup`, and the desk's part in it."""
        if not self.roads:
            return self.ask("setup", {"peers": []})
        theirs, own = self.roads
        self.number += 1
        self.link.say(1, "setup", {"peers": [], "streams": theirs}, self.number)
        self.streams.meet(own)
        return self.answer(self.number)

    def mirror(self, value, frame, phase=0, epoch=0):
        """One value to the host."""
        payload = struct.pack("<d", value)
        if self.roads:
            self.streams.send(1, HEADER.pack(MAGIC, MIRROR, VERSION, phase, self.run, epoch, 1, frame) + payload)
            self.streams.flush()
        else:
            self.link.send(1, MIRROR, payload, phase=phase, epoch=epoch, count=1, frame=frame)

    def ask(self, say, body=None, urgent=False):
        self.number += 1
        self.link.say(1, say, body, self.number, urgent)
        return self.answer(self.number)

    def answer(self, number=None):
        """The next control message: its name and body."""
        word = self.link.word(time.monotonic() + self.patience)
        assert word, "the host says nothing"
        _, header, payload = word
        assert header.kind == CONTROL, header
        message = json.loads(payload)
        self.heard(message["say"], message["body"])
        assert number is None or message["id"] in (0, number), message
        return message["say"], message["body"]

    def tell(self, say, body=None):
        self.link.say(1, say, body)

    def done(self):
        word = self.link.word(time.monotonic() + self.patience)
        assert word, "the host says nothing"
        _, header, payload = word
        assert header.kind == DONE, payload
        return header, payload

    def mirrored(self, frame, phase=0, epoch=0):
        """The one value that the host sends in a mirror."""
        taken = self.streams if self.roads else self.link
        return struct.unpack("<d", taken.mirror(1, epoch, frame, phase, 1, time.monotonic() + self.patience))[0]

    def step(self, frame, count=1, epoch=0):
        self.link.send(1, STEP, epoch=epoch, frame=frame, count=count)
