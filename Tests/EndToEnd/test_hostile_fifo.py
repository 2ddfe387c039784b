"""A module writes what it likes into its reply FIFO (docs/processes.md), at every moment of its life. Either the run ends with exit
code 2 and a line that names the module, or what it wrote does no harm and the run is as ever. Neither hermes nor a node's worker
crashes, hangs or keeps what it was sent.
"""
import os
import re
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from conftest import wait_for

ANNOUNCE, REPLY, SAVED, FREE, REALTIME = range(1, 6)
MAGIC = 0x46464D48
LONGEST = 256 << 20
EDGES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1)
MOMENTS = ("create", "init", "stage", "step", "terminate")
NEVER = 2**31 - 1
"""The sequence of a command that is not given."""
ROOM = 100 << 20
"""What a process may have in memory, whatever a module sends it."""
RUBBISH = "wrote something else than a message on its reply FIFO"
UNASKED = "sent a reply to a command that it was not given"
BROKEN = "sent a broken announcement"
BOTH = "announced signals and said that it is a free script"

SIMULATION = """version: "0.2"
name: {name}
{hosts}modules:
  odd: {{ type: process, executable: ./odd_words, config: ./{number}.words, start_timeout_s: {limit}{far}{policy} }}
execution: {{ mode: {mode}, rate_hz: 100, end_time: {end}, step_timeout_s: {limit}, restart_limit: 1 }}
"""


def message(kind, sequence=0, body=b"", magic=MAGIC, length=None):
    return struct.pack("<4I", magic, kind, sequence, len(body) if length is None else length) + body


def status(value, text=b""):
    return struct.pack("<I", value % 2**32) + text


def signal(name=b"x", kind=0, flags=8, unit=b"", text=b"", lengths=(None, None, None)):
    sizes = [len(each) if length is None else length for each, length in zip((name, unit, text), lengths)]
    return struct.pack("<BBHIII", kind, flags, 0, *sizes) + name + unit + text


def announcement(*signals, count=None):
    return message(ANNOUNCE, 0, struct.pack("<I", len(signals) if count is None else count) + b"".join(signals))


@dataclass
class Case:
    """What is said when, and what comes of it: `words` that the error has, or None when nothing does."""
    at: str
    said: bytes
    words: str | None
    then: str = "go"
    times: int = 1
    pad: int = 0
    policy: str = ""
    mode: str = "afap"
    code: int = field(init=False)

    def __post_init__(self):
        self.code = 0 if self.words is None else 2

    def __str__(self):
        return f"at {self.at}, {self.times} times {self.said[:80].hex(' ', 4)} + {self.pad} bytes, then {self.then}"


def headers():
    """Every field of a header, at every moment. What is wrong in a message is known by its header."""
    for at in MOMENTS[:4]:
        yield from (Case(at, message(REPLY, 0, magic=magic), RUBBISH) for magic in (MAGIC ^ 1, *EDGES[::4]))
    for kind in {*EDGES, 6, 16, 21} - {ANNOUNCE}:
        yield Case("init", message(kind, NEVER, status(0)), RUBBISH)
    for at, kind in zip(MOMENTS, (ANNOUNCE, REPLY, SAVED, REPLY, SAVED)):
        for length in (LONGEST + 1, *EDGES[2:]):
            # Who is at its end already has reached its safe state.
            yield Case(at, message(kind, NEVER, length=length), None if at == "terminate" else "the longest has 268435456")
    for sequence in EDGES[2:4]:
        yield Case("step", message(REPLY, sequence, status(0)), UNASKED)
        yield Case("step", message(SAVED, sequence, status(0)), UNASKED)
    yield Case("step", message(SAVED, 0, status(0)), UNASKED)
    yield Case("step", message(SAVED, 2**32 - 1, status(0)), UNASKED)
    yield Case("step", message(REPLY, 1, status(0)), UNASKED)
    yield Case("init", message(REPLY, 0, b"abc"), "sent a reply without a status")
    yield Case("stage", b"HMFF", "something else")
    # Bytes that never come.
    yield Case("create", message(ANNOUNCE, length=1000), "did not announce its signals within 2 s", then="hang")
    yield Case("create", message(ANNOUNCE, length=1000), "exited with code 0 before it announced", then="exit")
    yield Case("init", message(REPLY, 1, length=1000), "did not return from init within 2 s", then="hang")
    yield Case("stage", b"HM", "did not return from stage within 2 s", then="hang")
    yield Case("step", message(REPLY, 0, length=LONGEST), "did not finish its step within 2 s", then="hang")
    yield Case("step", message(REPLY, 0, length=LONGEST), "exited with code 0", then="exit")
    yield Case("terminate", message(REPLY, 0, length=LONGEST), None)


def announcements():
    one = signal()
    for count in (0, 2, *EDGES[2:]):
        yield Case("announce", announcement(one, count=count), BROKEN)
    yield Case("announce", announcement(one, b"\0"), BROKEN)
    yield Case("announce", message(ANNOUNCE), BROKEN)
    for place in range(3):
        for length in (2, *EDGES[2:]):
            lengths = [None] * 3
            lengths[place] = length
            words = BROKEN if place or length == 2 else f"a signal's name of {length} bytes"
            yield Case("announce", announcement(signal(lengths=lengths)), words)
    yield Case("announce", announcement(signal(lengths=(0, None, None), name=b"")), "a signal without a name")
    for kind in (5, 127, 128, 255):
        yield Case("announce", announcement(signal(kind=kind)), f"unknown type {kind}")
    yield Case("announce", announcement(one, one), "two signals of the name 'x'")
    for text in (b"\xff", b"a\xc3", b"\xed\xa0\x80"):
        yield from (Case("announce", announcement(signal(**{part: text})), "not UTF-8") for part in ("name", "unit", "text"))
    for text in (b"a\0b", b"\x1b[2J", b"\xc2\x9b2J", b"a\nhermes: error: b"):
        yield Case("announce", announcement(signal(name=text)), "control character in its name")
        # Nothing is said against them elsewhere; the module ends before its first step.
        yield Case("announce", announcement(signal(unit=text, text=text)), "exited with code 0")
    yield Case("announce", announcement(signal(flags=255)), "exited with code 0")
    yield Case("announce", announcement(), "exited with code 0")
    for at in MOMENTS[1:4]:
        yield Case(at, announcement(one), "announced its signals twice")
        yield Case(at, message(FREE), BOTH)
    yield Case("create", message(FREE) + announcement(one), BOTH)


def replies():
    # The module says them instead of libhermes: init is the first command, stage the second.
    for value in (1, -1, 2**31 - 1, -(2**31)):
        for text in (b"", b"a\0b", b"\xff\xfe", b"\x1b[2Jgone\r\nhermes: error: forged"):
            yield Case("init", message(REPLY, 1, status(value, text)), f"init returned {value}", then="exit")
        yield Case("stage", message(REPLY, 2, status(value)), f"stage returned {value}", then="exit")
    for at in MOMENTS[:4]:
        yield Case(at, 1000 * message(REPLY, NEVER, status(0)), UNASKED)
        yield Case(at, message(REPLY, 0, status(2**31, b"\0\xff")), None, times=1000)
    yield Case("init", 1000 * message(REPLY, 1, status(0)), UNASKED)
    yield Case("stage", message(REPLY, 2, status(0)), UNASKED)
    yield Case("stage", message(SAVED, 2, status(0)), UNASKED, then="hang")
    yield Case("terminate", message(REPLY, 2**32 - 1, status(-(2**31), b"\x1b[2J")), "did not reach its safe state", then="hang")
    yield Case("terminate", message(REPLY, 3, status(2**31 - 1)), "did not reach its safe state")
    # Asked for its state: the third command is the first save.
    restart = ", on_module_error: restart"
    yield Case("save", message(REPLY, 3, status(0)), UNASKED, policy=restart, then="exit")
    yield Case("save", message(SAVED, 3, b"ab"), "sent a reply without a status", policy=restart)
    yield Case("save", 2 * message(SAVED, 3, status(0, bytes(8))), UNASKED, policy=restart)
    yield Case("save", message(SAVED, 3, length=LONGEST + 1), "the longest has", policy=restart)


def realtime():
    asked = f", cpus: [{min(os.sched_getaffinity(0))}]"
    size = 1064
    for body in (b"", b"\0" * (size - 1), b"\xff" * 3):
        yield Case("stage", message(REALTIME, 0, body), "sent a broken word on its priority and CPUs")
    yield Case("stage", message(REALTIME, 0, length=2**20), "the longest has 65536")
    # What it says of its thread is told, be it true or not.
    for edge in EDGES:
        body = struct.pack("<6I2Q", *[edge] * 6, *[edge << 32 | edge] * 2)
        for fill in (b"\0", b"\xff"):
            said = message(REALTIME, 0, body + fill * 1024)
            yield Case("stage", said, None, times=1000, policy=asked, mode="realtime")
            yield Case("step", said, None, times=100)


def growth():
    much = 200 << 20
    for at, kind, sequence, words in (
            ("step", REPLY, 0, None), ("init", REPLY, 0, None), ("step", REPLY, NEVER, UNASKED), ("stage", SAVED, NEVER, UNASKED),
            ("step", ANNOUNCE, 0, "announced its signals twice"), ("init", FREE, 0, "the longest has 65536"), ("stage", REALTIME, 0, "the longest has"),
            ("terminate", REPLY, 2**32 - 1, None)):
        yield Case(at, message(kind, sequence, status(0), length=4 + much), words, pad=much)
    yield Case("init", message(REPLY, 1, status(7), length=4 + much), "init returned 7", pad=much, then="hang")
    yield Case("step", message(REPLY, 0, status(1), length=4 + (1 << 20)), None, pad=1 << 20, times=200)


GROUPS = {each.__name__: list(each()) for each in (headers, announcements, replies, realtime, growth)}


def memory(pid):
    """The most it has had, in bytes."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def attempt(desk, case, number, place, hosts="", far="", watched=None):
    """Runs one case; what is wrong with how it ended, or nothing."""
    folder = getattr(place, "root", None) or place.folder
    (folder / f"{number}.words").write_text(f"at {case.at}\nthen {case.then}\ntimes {case.times}\npad {case.pad}\n")
    (folder / f"{number}.words.bytes").write_bytes(case.said)
    config = desk.write(f"{number}.yaml", SIMULATION.format(
        name=f"{desk.name}-{number}", hosts=hosts, number=number, far=far, policy=case.policy, mode=case.mode,
        # A module that is to be found out makes steps until it is.
        limit=2 if "within" in (case.words or "") else 20, end=0.06 if case.words is None or case.at == "terminate" else 10000))
    out, most = desk.folder / f"{number}.said", 0
    with open(out, "wb") as file:
        run = subprocess.Popen([desk.hermes, "run", config], stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=desk.folder,
                               env=desk.environment)
        try:
            def is_over():
                nonlocal most
                most = max(most, *map(memory, watched() if watched else [run.pid]), 0)
                return run.poll() is not None
            wait_for(is_over, f"the end of the run: {case}")
        finally:
            if run.poll() is None:
                os.kill(run.pid, 9)
                run.wait()
    said = out.read_bytes()
    text = said.decode(errors="replace")
    errors = [line for line in text.splitlines() if line.startswith("hermes: error:")]
    wrong = []
    if run.returncode != case.code:
        wrong.append(f"exit {run.returncode}, expected {case.code}")
    if case.words is not None and not any("module odd" in line and case.words in line for line in errors):
        wrong.append(f"no error with {case.words!r}")
    if re.search(rb"[\0\x1b]|\xc2\x9b", said) or any("forged" in line and "module odd" not in line for line in errors):
        wrong.append("its bytes reach the terminal as they are")
    if "Fatal error" in text or "panic" in text or "Sanitizer" in text:
        wrong.append("a crash")
    if "safe state" in text and "safe state" not in (case.words or ""):
        wrong.append("it did not come to terminate")
    if most > ROOM:
        wrong.append(f"{most >> 20} MB in memory")
    return f"{case}:\n  {'; '.join(wrong)}\n{text}" if wrong else None


def attempt_all(desk, cases, place, at_once=8, **more):
    with ThreadPoolExecutor(at_once) as pool:
        found = pool.map(lambda each: attempt(desk, each[1], each[0], place, **more), enumerate(cases))
        wrong = [each for each in found if each]
    assert not wrong, f"{len(wrong)} of {len(cases)}\n" + "\n".join(wrong)


@pytest.mark.parametrize("group", GROUPS)
def test_at_the_desk(desk, group):
    desk.module("odd_words")
    attempt_all(desk, GROUPS[group], desk)


def test_on_a_node(desk, nodes):
    """Some of each: the same process reads the FIFO there, and tells the coordinator."""
    node = nodes.start("bench")
    node.module("odd_words")
    cases = [case for group, cases in GROUPS.items() for case in (cases if group == "growth" else cases[::7])]
    attempt_all(desk, cases, node, at_once=2, hosts=nodes.hosts, far=", host: bench", watched=lambda: [node.process.pid, *node.others])
    assert not re.search(r"Fatal error|ended by signal", node.log), node.log
