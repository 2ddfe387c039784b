"""Throws rubbish at a node: at its endpoint, where everybody may knock, and at the port of a run. Each attack is one
connection, made from a seed, so that a failure can be had again.

    python3 fuzz_node.py tcp://127.0.0.1:7600 [SECONDS [SEED]]

The node must be there afterwards, as big as before, and serve; who calls this looks after that.
"""
import contextlib
import hashlib
import json
import random
import re
import struct
import sys
import time

from zmtp import COMMAND, LONG, MORE, Connection, command, control, frame, greeting, metadata, ready

TOKEN = "not-the-token-of-this-run"
PROBE, STEP, DONE, MIRROR, CONTROL = 4, 1, 2, 3, 5
HUGE = [2**63 - 1, 2**63, 2**64 - 1, 2**31, 2**32, (64 << 20) + 1, 64 << 20, 8 << 20]

# One of each message that a coordinator says, as it should be.
MESSAGES = [
    ("hello", {"version": "0.2.0", "protocolVersion": 1, "oldestProtocol": 1}),
    ("open", {"simulation": "fuzz", "host": "a", "index": 1, "participants": 2, "run": 77, "livenessSeconds": 2.0,
              "security": {"token": TOKEN}, "mirrorAddress": "tcp://127.0.0.1:1"}),
    ("end", {"run": 77, "cause": "the fuzzer said so"}),
    ("ping", {}),
    ("checkup", {}),
    ("hashes", {"paths": ["formula", "none", "../x"]}),
    ("put", {"upload": 7, "path": "fuzz/x", "offset": 0, "total": 4, "isExecutable": False, "bytes": "Zg==", "hash": "0" * 64}),
    ("put", {"upload": 5, "path": "fuzz/whole", "offset": 0, "total": 3, "isExecutable": True, "bytes": "YWJj",
             "hash": hashlib.sha256(b"abc").hexdigest()}),
    ("folder", {"path": "fuzz/folder"}),
]
RUN_MESSAGES = [
    ("setup", {"peers": []}),
    ("launch", {"modules": [{"name": "m", "kind": "process", "program": "./formula", "arguments": ["x"], "environment": ["SIM_A", "B"],
                             "workingDirectory": ".", "configuration": "./one.formula", "stepTimeoutSeconds": 1.0}]}),
    ("prepare", {"host": 1, "simulation": "fuzz", "rateHz": 100.0, "hosts": [None, "a"], "phases": [[0]],
                 "modules": [{"name": "m", "isInproc": False, "isFree": False, "phase": 0, "divisor": 1, "dt": 0.01, "firstSignal": 0,
                              "signalCount": 2}],
                 "signals": [{"name": "m.in", "module": 0, "type": 0, "bits": 18}, {"name": "m.out", "module": 0, "type": 0, "bits": 10}],
                 "deliveries": [{"runs": [], "copies": [1, 0], "conversions": [], "factors": [], "isStaged": False}] * 2,
                 "gathers": [], "inboxCount": 0, "outboxCount": 0, "sends": [[], []], "receives": [[], []], "collected": [1],
                 "longestStepSeconds": 1.0}),
    ("stage", {"slots": [0], "bits": [1]}),
    ("show", {"isPaused": False}),
    ("write", {"slots": [0], "bits": [1]}),
    ("sample", {"slots": [0], "bits": []}),
    ("reset", {}),
    ("terminate", {"hurried": True}),
]
"""One of each that it says to a run on a host, in an order in which it may."""


def nested(depth):
    return [[b"[" * depth, b'{"a":' * depth][depth % 2], json.dumps("[" * depth).encode()][depth % 3 == 0]


class Fuzzer:
    """`throw()` makes one attack at random. `recorded`: what real clients said, whole connections of it."""

    def __init__(self, address, seed, password=None, recorded=(), mechanism=b"NULL"):
        self.address, self.password, self.recorded, self.mechanism = address, password, list(recorded), mechanism
        self.random = random.Random(seed)
        self.held = []
        self.opened = set()
        self.counts = {}
        self.attacks = [self.raw, self.cut_greeting, self.odd_greeting, self.odd_handshake, self.odd_commands, self.odd_frames,
                        self.huge_frame, self.many_parts, self.odd_identity, self.hold, self.odd_message, self.odd_message,
                        self.odd_message, self.cut_message, self.deep_message, self.big_message]
        if self.recorded:
            self.attacks += [self.replay, self.replay, self.replay]

    def throw(self):
        attack = self.random.choice(self.attacks)
        self.counts[attack.__name__] = self.counts.get(attack.__name__, 0) + 1
        with contextlib.suppress(OSError, EOFError):
            attack()

    def run(self, seconds):
        """Attacks for this long; how many were made."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.throw()
        self.close()
        return sum(self.counts.values())

    def close(self):
        for connection in self.held:
            connection.socket.close()
        self.held.clear()
        # What the attacks may have opened: a run of somebody who never comes would wait a while.
        with contextlib.suppress(OSError, EOFError), self.connect(greets=True) as connection:
            for run in self.opened:
                connection.write(frame(control("end", 0, {"run": run})))
            connection.ask("hello", 1, MESSAGES[0][1])

    # ---- Parts

    def connect(self, greets=False):
        connection = Connection(self.address, timeout=0.5)
        if greets:
            connection.shake_hands(password=self.password)
        return connection

    def bytes(self, most=4096):
        return self.random.randbytes(self.random.choice([1, 2, 10, 64, 65, 300, most]))

    def odd_value(self):
        return self.random.choice([None, True, -1, 0, 1.5, 1e308, 2**63, 2**64, -2**63, "", "x" * 5000, "\0", "../..", "../outside/x", "link/x",
                                   "fuzz/../../outside/y", ".hermes-push/z", [], {}, [[]],
                                   {"": 0}, [None] * 1000, "\ud800"])

    def odd_body(self, body):
        """A message's body with one thing in it that does not belong there."""
        body = json.loads(json.dumps(body))
        place, trail = body, []
        while isinstance(place, (dict, list)) and place:
            key = self.random.choice(list(place) if isinstance(place, dict) else range(len(place)))
            trail.append((place, key))
            place = place[key]
            if self.random.random() < 0.4:
                break
        if not trail:
            return self.odd_value()
        place, key = trail[-1]
        if self.random.random() < 0.2:
            del place[key]
        else:
            place[key] = self.odd_value()
        return body

    # ---- Attacks below ZMTP

    def raw(self):
        with self.connect() as connection:
            connection.write(self.bytes(1 << 16))

    def cut_greeting(self):
        with self.connect() as connection:
            connection.write(greeting(self.mechanism)[:self.random.randrange(64)])

    def odd_greeting(self):
        with self.connect() as connection:
            text = bytearray(greeting(self.random.choice([b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"\xff" * 20, b""]),
                                      self.random.random() < 0.5, self.random.choice([(3, 0), (3, 1), (2, 0), (1, 0), (255, 255)])))
            if self.random.random() < 0.5:
                text[self.random.randrange(64)] ^= 1 << self.random.randrange(8)
            connection.write(bytes(text) + ready() + self.bytes())

    def odd_handshake(self):
        with self.connect() as connection:
            connection.write(greeting(self.mechanism))
            connection.read(64)
            connection.write(self.random.choice([
                command(b"READY", self.bytes()), command(b"READY", metadata(Socket_Type=b"X" * 300)), command(b"ERROR", b"\xffno"),
                command(b"HELLO", self.bytes()), command(b"HELLO", bytes(194)), command(b"INITIATE", self.bytes()),
                command(b"PING", self.bytes()), command(self.bytes(200)[:255]), frame(b"", COMMAND), frame(b"\xff", COMMAND),
                command(b"READY", b"\x04Name\xff\xff\xff\xff"), frame(b"message too early"),
                command(b"HELLO", b"\x06hermes" + bytes([len(TOKEN)]) + TOKEN.encode()), command(b"HELLO", b"\xff" * 300)]))
            self.linger(connection)

    def linger(self, connection):
        """Some stay to hear what is said."""
        if self.random.random() < 0.2:
            connection.socket.settimeout(0.02)
            connection.socket.recv(1 << 16)

    # ---- Attacks within ZMTP

    def odd_commands(self):
        with self.connect(greets=True) as connection:
            for _ in range(self.random.randrange(1, 20)):
                connection.write(self.random.choice([
                    command(b"PING", b"\0\1" + self.bytes(300)), command(b"PONG", self.bytes()), command(b"SUBSCRIBE", self.bytes()),
                    command(b"READY", self.bytes()), command(b"CANCEL"), command(b"MESSAGE", self.bytes()), frame(b"", COMMAND),
                    frame(b"\xff" * 10, COMMAND | LONG), frame(b"x", COMMAND | MORE), command(b"JOIN", b"g"), frame(self.bytes(), 0x80)]))

    def odd_frames(self):
        with self.connect(greets=True) as connection:
            for _ in range(self.random.randrange(1, 20)):
                connection.write(frame(self.bytes(1 << 15), self.random.choice([0, 0, 0, MORE, LONG])))
            self.linger(connection)

    def huge_frame(self):
        with self.connect(greets=True) as connection:
            flags = self.random.choice([LONG, LONG | MORE, LONG | COMMAND])
            connection.write(struct.pack(">BQ", flags, self.random.choice(HUGE)) + self.bytes())
            self.held.append(connection) if len(self.held) < 100 else None
            self.linger(connection)

    def many_parts(self):
        with self.connect(greets=True) as connection:
            connection.write(frame(b"", MORE) * self.random.choice([10, 1000, 20000]) + frame(b"end"))

    def odd_identity(self):
        connection = self.connect()
        connection.write(greeting(self.mechanism))
        connection.read(64)
        connection.write(ready(self.random.choice([b"DEALER", b"ROUTER", b"REQ", b"PUB", b"PAIR", b""]),
                               self.random.choice([b"", b"same", b"\0same", b"x" * 255, b"x" * 5000, b"h\0\0" + TOKEN.encode()])))
        connection.write(frame(control(*self.hello)))
        self.keep(connection)

    @property
    def hello(self):
        return MESSAGES[0][0], self.random.choice([0, 1, -1, 2**62]), MESSAGES[0][1]

    def hold(self):
        """Comes and says nothing more."""
        self.keep(self.connect(greets=self.random.random() < 0.5))

    def keep(self, connection):
        self.held.append(connection)
        if len(self.held) > 100:
            self.held.pop(0).socket.close()

    # ---- Attacks within messages

    def say(self, *messages):
        with self.connect(greets=True) as connection:
            for message in messages:
                connection.write(frame(self.remember(message)))
            self.linger(connection)

    def message(self):
        say, body = self.random.choice(MESSAGES if self.random.random() < 0.7 else RUN_MESSAGES)
        if say in ("open", "end"):
            run = self.random.randrange(1, 100)
            body = {**body, "run": run, **({"simulation": f"fuzz-{run % 5}"} if say == "open" else {})}
        return say, body

    def remember(self, text):
        """Runs that this may open, as `end` is to be told which."""
        self.opened.update(int(number) for number in re.findall(rb'"run": ?(\d{1,20})\b', text))
        return text

    def odd_message(self):
        say, body = self.message()
        whole = {"hermes": 1, "id": self.random.randrange(-2, 9), "say": say, "body": self.odd_body(body)}
        if self.random.random() < 0.3:
            whole = self.odd_body(whole)
        self.say(json.dumps(whole).encode(), control(*self.hello))

    def cut_message(self):
        say, body = self.message()
        text = bytearray(control(say, 1, body))
        if self.random.random() < 0.5:
            text[self.random.randrange(len(text))] ^= 1 << self.random.randrange(8)
        else:
            del text[self.random.randrange(len(text)):]
        self.say(bytes(text))

    def deep_message(self):
        depth = self.random.choice([100, 511, 513, 10000, 99999, 1000000])
        inside = nested(depth)
        self.say(self.random.choice([inside, b'{"hermes":1,"id":1,"say":"hello","body":' + inside, b'{"hermes":' + inside]))

    def big_message(self):
        count = self.random.choice([1000, 100000, 1000000])
        filling = self.random.choice([b"1,", b'"",', b"[],", b"{},", b"1e99,"])
        self.say(b'{"hermes":1,"id":1,"say":"hello","body":{"x":[' + filling * count + b"1]}}")

    def replay(self):
        """What a real client said: all of it, a part, a part twice, or with a bit turned."""
        text = bytearray(self.random.choice(self.recorded))
        how = self.random.randrange(4)
        if how == 1:
            del text[self.random.randrange(len(text)):]
        elif how == 2:
            at = self.random.randrange(len(text))
            text[at:at] = text[at:self.random.randrange(at, len(text)) + 1]
        elif how == 3:
            text[self.random.randrange(len(text))] ^= 1 << self.random.randrange(8)
        with self.connect() as connection:
            connection.write(self.remember(bytes(text)))
            self.linger(connection)


class MadDesk:
    """A coordinator that a node accepts and that says to its run what it likes."""

    def __init__(self, address, name, run, participants=2):
        self.address, self.name, self.number = address, name, run
        self.control = Connection(address).shake_hands()
        opened = self.control.ask("open", 1, {"simulation": name, "host": "a", "index": 1, "participants": participants, "run": run,
                                              "livenessSeconds": 2.0, "security": {"token": TOKEN}})
        assert opened["say"] == "opened", opened
        self.link = Connection((address[0], opened["body"]["port"]))
        self.link.shake_hands(b"ROUTER", identity=b"h\0\0" + TOKEN.encode(), password=TOKEN.encode())
        self.send(PROBE)
        assert self.receive()[0] == PROBE

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.socket.close()
        with contextlib.suppress(OSError):
            self.control.write(frame(control("end", 0, {"run": self.number})))
        self.control.socket.close()

    def send(self, kind, payload=b"", phase=0, epoch=0, count=0, first=0, run=None, version=1):
        head = struct.pack("<4sBBHQIIQ", b"HRMF", kind, version, phase, run or self.number, epoch, count, first)
        self.link.write(frame(head + payload))

    def receive(self):
        """Kind, frame and payload of the next message."""
        body = self.link.read_message()
        _, kind, _, _, _, _, _, number = struct.unpack_from("<4sBBHQIIQ", body)
        return kind, number, body[32:]

    def say(self, say, body, id=1):
        self.send(CONTROL, control(say, id, body))

    def word(self):
        """The next word of control, or the number of the frame that is done."""
        kind, number, payload = self.receive()
        return json.loads(payload) if kind == CONTROL else number

    def ask(self, say, body):
        self.say(say, body)
        return self.word()

    def lead(self, until):
        """Says all that comes before the message `until`, as it should be."""
        for say, body in RUN_MESSAGES:
            if say == until:
                return self
            if say in ("show", "write"):
                self.say(say, body)
                continue
            answer = self.ask(say, body)
            assert not isinstance(answer, dict) or answer["say"] != "failed", answer


def main():
    address, _, port = sys.argv[1].removeprefix("tcp://").rpartition(":")
    seconds, seed = float(sys.argv[2]) if len(sys.argv) > 2 else 8, int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns()
    fuzzer = Fuzzer((address, int(port)), seed)
    print(f"seed {seed}: {fuzzer.run(seconds)} attacks: {fuzzer.counts}")


if __name__ == "__main__":
    main()
