"""A man in the middle between a desk and a node: both are real, what one says to the other is their own, but for one field of
one message. Which fields there are is what was seen to pass: a new message or a new field is covered by itself.

    with Meddler("127.0.0.8", [node.port, *node.ports], "127.0.0.1") as meddler:    # without `change` it only looks
        ...
        meddler.places        # every (side, message, path) that passed, in order

Nothing may be encrypted: no keys.
"""
import contextlib
import copy
import json
import random
import socket
import struct
import threading

from zmtp import COMMAND, LONG

EDGES = [0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -2**63, 0.5, -0.5, 1e18, 1e308,
         -1e308, "", "x", None, True, [], {}]
"""What any field may be in place of what it is; also it may be missing."""
TEXTS = ["\0", "a\nb", "\x1b[2J", "é" * 40000, "../..", "9" * 400]
LISTS = [lambda old: old + old, lambda old: old[:-1], lambda old: [None], lambda old: (old or [0]) * 1000]
HEADER = struct.Struct("<IBBHQIIQ")
FIELDS = ["magic", "kind", "version", "phase", "run", "epoch", "count", "frame"]
SIZES = [32, 8, 8, 16, 64, 32, 32, 64]
KINDS = {1: "step", 2: "done", 3: "mirror", 4: "probe", 6: "sample", 7: "values", 8: "write"}
HELLO = struct.Struct("<IBBHHHQIHH")
HELLO_FIELDS = ["magic", "version", "sealed", "from", "to", "zero", "run", "epoch", "from again", "to again"]
HELLO_SIZES = [32, 8, 8, 16, 16, 16, 64, 32, 16, 16]


def leaves(value, path=""):
    """Every field of a document with a path that has [] for any place in a list; lists themselves are fields, too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path
        if isinstance(value, list):
            for inner in value:
                yield from leaves(inner, path + "[]")


def changed(value, path, chance, edge):
    """The document with another value at a path, in lists at a place by chance; None where there is no such place."""
    value = copy.deepcopy(value)
    holder, key, place = None, None, value
    for part in path.split("."):
        name = part.split("[]")[0]
        if not isinstance(place, dict) or name not in place:
            return None
        holder, key, place = place, name, place[name]
        for _ in range(part.count("[]")):
            if not isinstance(place, list) or not place:
                return None
            holder, key = place, chance.randrange(len(place))
            place = place[key]
    if edge == "missing":
        del holder[key]
    elif callable(edge):
        holder[key] = edge(place) if isinstance(place, list) else None
    else:
        holder[key] = edge
    return value


class Change:
    """One field, and what it is to be; applied to the first message that has it, or to all."""

    def __init__(self, place, edge, seed=1, always=False):
        self.place, self.edge, self.chance, self.always = place, edge, random.Random(seed), always
        self.made = 0

    def __str__(self):
        edge = "a longer or shorter list" if callable(self.edge) else repr(self.edge)[:40]
        return f"{' '.join(self.place)} = {edge}"

    def apply(self, side, name, document):
        if (side, name) != self.place[:2] or self.made and not self.always:
            return None
        found = changed(document, self.place[2], self.chance, self.edge)
        self.made += found is not None
        return found


class Meddler:
    def __init__(self, address, ports, target, change=None):
        self.address, self.ports, self.target, self.change = address, list(ports), target, change
        self.places, self.seen = [], set()
        self.lock = threading.Lock()
        self.listening, self.sockets, self.threads = [], [], []

    def __enter__(self):
        for port in self.ports:
            listening = socket.create_server((self.address, port))
            self.listening.append(listening)
            self.start(self.accept, listening, port)
        return self

    def __exit__(self, *_):
        for one in self.listening + self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for one in self.listening + self.sockets:
            one.close()
        for thread in self.threads:
            thread.join(5)

    def start(self, body, *arguments):
        thread = threading.Thread(target=body, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self, listening, port):
        with contextlib.suppress(OSError):
            while True:
                desk, _ = listening.accept()
                try:
                    node = socket.create_connection((self.target, port))
                except OSError:
                    desk.close()
                    continue
                for one in (desk, node):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sockets += [desk, node]
                self.start(self.carry, desk, node, "desk")
                self.start(self.carry, node, desk, "node")

    # ---- One direction

    def carry(self, source, sink, side):
        with contextlib.suppress(OSError, EOFError):
            first = exactly(source, 1)
            (self.messages if first == b"\xff" else self.records)(source, sink, side, first)
        for one, how in ((source, socket.SHUT_RD), (sink, socket.SHUT_WR)):
            with contextlib.suppress(OSError):
                one.shutdown(how)

    def messages(self, source, sink, side, first):
        """ZMTP: greeting, of which neither side says the second half before it has heard the first, then frames."""
        left = 63
        sink.sendall(first)
        while left:
            piece = source.recv(left)
            if not piece:
                raise EOFError
            sink.sendall(piece)
            left -= len(piece)
        while True:
            head = exactly(source, 1)
            wide = head[0] & LONG
            size = exactly(source, 8 if wide else 1)
            body = exactly(source, int.from_bytes(size, "big"))
            if not head[0] & COMMAND:
                body = self.touch(side, body)
                head = bytes([head[0] & ~LONG | (LONG if len(body) > 255 else 0)])
                size = struct.pack(">Q" if len(body) > 255 else ">B", len(body))
            sink.sendall(head + size + body)

    def records(self, source, sink, side, first):
        """A plain mirror stream: the hello, then records."""
        hello = first + exactly(source, 91)
        sink.sendall(self.touch_numbers(side, "stream", HELLO, HELLO_FIELDS, HELLO_SIZES, hello))
        while True:
            size = exactly(source, 4)
            body = exactly(source, int.from_bytes(size, "little"))
            document = self.pass_by(side, "record", {"length": len(body)})
            sink.sendall((number(document["length"]) & 0xFFFFFFFF).to_bytes(4, "little") + self.touch(side, body))

    # ---- One message

    def touch(self, side, body):
        if body[:1] == b"{":
            return self.touch_control(side, body)
        if len(body) >= HEADER.size and body[:4] == b"HRMF":
            if body[4] == 5:
                return body[:32] + self.touch_control(side, body[32:])
            return self.touch_numbers(side, KINDS.get(body[4], "?"), HEADER, FIELDS, SIZES, body)
        return body

    def touch_control(self, side, body):
        with contextlib.suppress(ValueError):
            document = json.loads(body)
            after = self.pass_by(side, document["say"], document)
            if after is not document:
                return json.dumps(after).encode()
        return body

    def touch_numbers(self, side, name, form, fields, sizes, body):
        before = dict(zip(fields, form.unpack_from(body)), payload=len(body) - form.size)
        after = self.pass_by(side, name, before)
        if after is before:
            return body
        numbers = [number(after.get(field, 0)) & ((1 << size) - 1) for field, size in zip(fields, sizes)]
        payload = body[form.size:]
        if after.get("payload") != before["payload"]:
            payload = (payload + bytes(4096))[:min(max(number(after.get("payload", 0)), 0), len(payload) + 4096)]
        return form.pack(*numbers) + payload

    def pass_by(self, side, name, document):
        with self.lock:
            for path in leaves(document):
                if (side, name, path) not in self.seen:
                    self.seen.add((side, name, path))
                    self.places.append((side, name, path))
            after = self.change.apply(side, name, document) if self.change else None
            return document if after is None else after


def number(value):
    return int(value) if isinstance(value, (int, float)) and abs(value) < 1e300 else 2**64 - 1


def exactly(source, count):
    data = bytearray()
    while len(data) < count:
        piece = source.recv(min(count - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
