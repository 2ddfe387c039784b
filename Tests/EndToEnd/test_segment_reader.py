"""A reader of segments written from the format's description alone: header, directory, string table, data."""
import mmap
import os
import stat
import struct
from dataclasses import dataclass

import pytest
from conftest import Running
from frame_model import Simulation, bits

CONFIG = """
version: "0.2"
name: {name}
modules:
  zulu: {{ type: process, executable: ./formula, config: ./zulu.formula }}
  alpha: {{ type: process, executable: ./formula, config: ./alpha.formula }}
  direct: {{ type: process, executable: ./formula, config: ./direct.formula }}
wiring:
  - {{ src: zulu.wave, dst: alpha.wired }}
execution: {{ mode: single_frame, rate_hz: 8 }}
"""
FORMULAS = {
    "zulu": "signal wave f64 output = 0.1\nsignal a.dotted.name i32 - = -7\nwave = wave * -3\n",
    "alpha": "signal wired f32 input = 1\nsignal free i64 input = -5\nsignal flag bool output,writable = 1\n"
             "signal secret f64 hidden = 2.5\nsignal both i32 output,writable = 40000\n",
    "direct": "access handles\nsignal counter i64 output = 9007199254740993\nsignal half f32 output = 0.5\n"
              "counter = mix counter n\n",
}
TYPES = ["f64", "f32", "i64", "i32", "bool"]
SIZES = {"f64": 8, "f32": 4, "i64": 8, "i32": 4, "bool": 1}
FORMATS = {"f64": "<d", "f32": "<f", "i64": "<q", "i32": "<i", "bool": "<B"}


@dataclass
class Entry:
    name: str
    name_offset: int
    kind: str
    flags: int
    offset: int
    zero: int
    slot: bytes

    @property
    def value(self):
        return struct.unpack_from(FORMATS[self.kind], self.slot)[0]


class Segment:
    """What a stranger with the format's description sees."""

    def __init__(self, name):
        with open(f"/dev/shm/hermes_{name}", "rb") as file:
            self.mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
                self.bytes = memory[:]
        self.magic, self.version, self.frame, self.time, self.count = struct.unpack_from("<IIQdI", self.bytes, 0)
        self.entries = []
        for index in range(self.count):
            at = 64 + 12 * index
            name_offset, data_offset, kind, flags, zero = struct.unpack_from("<IIBBH", self.bytes, at)
            text = self.bytes[name_offset:self.bytes.index(b"\0", name_offset)].decode()
            slot = self.bytes[data_offset:data_offset + 8]
            self.entries.append(Entry(text, name_offset, TYPES[kind], flags, data_offset, zero, slot))
        self.by_name = {entry.name: entry for entry in self.entries}


@pytest.fixture
def paused(desk):
    desk.module("formula")
    for module, text in FORMULAS.items():
        desk.write(f"{module}.formula", text)
    with Running(desk, CONFIG.format(name=desk.name)) as sim:
        yield sim.ready()
        sim.command("stop")
        sim.finish().expect(0)


@pytest.fixture
def model():
    config = {"modules": {"zulu": {}, "alpha": {}, "direct": {}}, "execution": {"rate_hz": 8},
              "wiring": [{"src": "zulu.wave", "dst": "alpha.wired"}]}
    return Simulation(config, FORMULAS)


def test_header(paused):
    segment = Segment(paused.name)
    assert (segment.magic, segment.version) == (0x4845524D, 1)
    assert (segment.frame, segment.time) == (0, 0.0)
    assert segment.bytes[:4] == b"MREH", "little-endian"
    paused.command("step", 3)
    segment = Segment(paused.name)
    assert (segment.frame, segment.time) == (3, 0.375)
    assert segment.mode == 0o600


def test_directory_has_exactly_the_modules_signals(paused, model):
    segment = Segment(paused.name)
    assert segment.count == len(segment.entries) == 9
    assert {entry.name for entry in segment.entries} == {f"{m}.{s}" for m, s in model.signals}
    for entry in segment.entries:
        assert entry.kind == model.kind(entry.name), entry
        assert entry.zero == 0, entry


def test_flags(paused):
    flags = {name: entry.flags for name, entry in Segment(paused.name).by_name.items()}
    assert flags["zulu.wave"] == 2
    assert flags["zulu.a.dotted.name"] == 2
    assert flags["alpha.free"] == 3, "an input that no wire drives is writable"
    assert flags["alpha.flag"] == flags["alpha.both"] == 3
    assert flags["alpha.secret"] == 0, "hidden: neither writable nor published"
    assert flags["alpha.wired"] == 2, "a wire drives it, so it is not writable"
    assert flags["direct.counter"] == 2


def test_data_is_aligned_in_directory_order_and_padded_with_zeros(paused):
    paused.command("step", 2)
    segment = Segment(paused.name)
    first = segment.entries[0].offset
    assert first % 64 == 0
    assert [entry.offset for entry in segment.entries] == [first + 8 * i for i in range(segment.count)]
    for entry in segment.entries:
        assert entry.slot[SIZES[entry.kind]:] == bytes(8 - SIZES[entry.kind]), entry
        if entry.kind == "bool":
            assert entry.slot[0] in (0, 1)


def test_names_lie_between_directory_and_data(paused):
    segment = Segment(paused.name)
    for entry in segment.entries:
        assert 64 + 12 * segment.count <= entry.name_offset
        assert entry.name_offset + len(entry.name.encode()) < segment.entries[0].offset


def test_values_are_the_models(paused, model):
    for steps in (0, 1, 4):
        if steps:
            paused.command("step", steps)
            for _ in range(steps):
                model.step()
        for entry in Segment(paused.name).entries:
            kind = model.kind(entry.name)
            assert bits(entry.value, kind) == bits(model.value(entry.name), kind), (model.frame, entry)


def test_a_write_from_outside_shows_in_the_next_frame(paused, model):
    paused.command("set", "alpha.free=-9007199254740993", "alpha.flag=false", "alpha.both=-1")
    paused.command("step", 1)
    model.write({"alpha.free": "-9007199254740993", "alpha.flag": "false", "alpha.both": "-1"})
    model.step()
    values = {name: entry.value for name, entry in Segment(paused.name).by_name.items()}
    for name in ("alpha.free", "alpha.flag", "alpha.both"):
        assert values[name] == model.value(name), name


@pytest.mark.parametrize("target, reason", [("alpha.wired", "wire"), ("zulu.wave", ""), ("alpha.secret", "")])
def test_writes_to_wired_and_read_only_signals_are_refused(paused, target, reason):
    done = paused.desk.command("set", paused.name, "alpha.free=77", f"{target}=1")
    assert done.code != 0
    assert target in done.stderr and reason in done.stderr
    paused.command("step", 1)
    assert Segment(paused.name).by_name["alpha.free"].value == -5, "all values of one call or none"
