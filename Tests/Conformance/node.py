"""A node of one module, written from docs/processes.md and include/hermes/segment.h: it starts the module, makes its
segment, steps it through the barrier and drives reset, save and load over the FIFO pair."""

import ctypes
import fcntl
import mmap
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import time
from dataclasses import dataclass

FIFO_MAGIC = 0x46464D48
ANNOUNCE, REPLY, SAVED, FREE = 1, 2, 3, 4
INIT, STAGE, RESET, TERMINATE, SAVE, LOAD = 16, 17, 18, 19, 20, 21
WORDS = ("f64", "f32", "i64", "i32", "bool")
FORMATS = ("<d", "<f", "<q", "<i", "<?")
WRITABLE, HIDDEN, INPUT, OUTPUT, NAMED = 1, 2, 4, 8, 16

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine())
_FUTEX_WAKE = 1
_F_OFD_SETLK = 37
_libc = ctypes.CDLL(None, use_errno=True)


class ModuleGone(Exception):
    """The module ended; the text is its exit code and what it wrote."""


@dataclass
class Announced:
    name: str
    type: str
    flags: int
    unit: str
    description: str


def _align(offset, to):
    return (offset + to - 1) // to * to


class Node:
    """Runs `command` as the one module of a simulation. A context manager: leaving it ends the module."""

    def __init__(self, command, folder, *, config=None, environment=None, rate_hz=100.0, types=None, wired=(), timeout=10.0):
        self.timeout, self.rate_hz, self.types, self.wired = timeout, rate_hz, types or {}, set(wired)
        self.name = f"conformance-{os.getpid()}-{id(self):x}"
        self.shm = f"/hermes_{self.name}"
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.memory = None
        self.frame = self.generation = self.sequence = self.sent = 0
        self.staged = False
        paths = [os.path.join(self.folder, end) for end in ("0.command", "0.reply")]
        for path in paths:
            os.mkfifo(path, 0o600)
        self.commands, self.replies = (os.open(path, os.O_RDWR) for path in paths)
        self.output = open(os.path.join(self.folder, "output"), "w+b")
        variables = dict(os.environ, HERMES_MODULE="conformer", HERMES_SHM=self.shm, **(environment or {}))
        variables.update(HERMES_COMMAND_FIFO=paths[0], HERMES_REPLY_FIFO=paths[1])
        if config is not None:
            variables["HERMES_CONFIG"] = str(config)
        self.process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            kind, _, body = self._receive()
            assert kind == ANNOUNCE, f"the module said {kind} in place of an announcement"
            self.signals = self._decode(body)
        except BaseException:
            self.close()
            raise

    # The FIFO pair.

    def written(self):
        with open(self.output.name, "rb") as file:
            return file.read().decode(errors="replace")

    def _read(self, size):
        data = b""
        deadline = time.monotonic() + self.timeout
        while len(data) < size:
            if select.select([self.replies], [], [], 0.05)[0]:
                data += os.read(self.replies, size - len(data))
            elif self.process.poll() is not None:
                raise ModuleGone(f"exit {self.process.returncode}: {self.written()}")
            elif time.monotonic() > deadline:
                raise TimeoutError(f"the module did not answer in {self.timeout} s: {self.written()}")
        return data

    def _receive(self):
        magic, kind, sequence, length = struct.unpack("<4I", self._read(16))
        assert magic == FIFO_MAGIC
        return kind, sequence, self._read(length)

    def command(self, kind, body=b""):
        """Sends a command. Returns the status and the text (or state) of its reply."""
        self.sequence += 1
        os.write(self.commands, struct.pack("<4I", FIFO_MAGIC, kind, self.sequence, len(body)) + body)
        if self.staged:
            self.sent += 1
            self._put("<I", self.module_at + 16, self.sent)
            self._wake()
        _, sequence, answer = self._receive()
        assert sequence == self.sequence
        return struct.unpack_from("<i", answer)[0], answer[4:]

    @staticmethod
    def _decode(body):
        count, at, found = struct.unpack_from("<I", body)[0], 4, []
        for _ in range(count):
            type_code, flags, _zero, name, unit, text = struct.unpack_from("<BBHIII", body, at)
            at += 16
            texts = []
            for length in (name, unit, text):
                texts.append(body[at : at + length].decode())
                at += length
            found.append(Announced(texts[0], WORDS[type_code], flags, texts[1], texts[2]))
        assert at == len(body)
        return found

    # The segment.

    def make_segment(self):
        """Lays the segment out: one phase, one module, no wires that deliver."""
        names, offsets = b"\0", []
        for each in self.signals:
            offsets.append(len(names))
            names += f"conformer.{each.name}".encode() + b"\0"
        module_name = len(names)
        names += b"conformer\0"
        count = len(self.signals)
        strings = 64 + 12 * count
        data = _align(strings + len(names), 64)
        control = _align(data + 8 * count, 64)
        modules = control + 320
        phases = modules + 128
        phase_list = phases + 64
        extras = _align(phase_list + 4, 64)
        deliveries = _align(extras + 16 * count, 64)
        queue = deliveries + 64
        snapshot = queue + 16 * 16
        end = _align(snapshot + 8 * count, 4096)

        path = "/dev/shm" + self.shm
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.fcntl(self.descriptor, _F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
        os.ftruncate(self.descriptor, end)
        self.memory = mmap.mmap(self.descriptor, end)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.data, self.control, self.module_at = data, control, modules
        self.queue, self.snapshot = queue, snapshot
        self.index = {each.name: index for index, each in enumerate(self.signals)}
        self.codes = []
        for index, each in enumerate(self.signals):
            if each.flags & NAMED:
                each.type = self.types.get(each.name, each.type)
            self.codes.append(WORDS.index(each.type))
            writable = each.flags & (WRITABLE | INPUT) != 0 or each.name in self.types
            flags = (1 if writable and each.name not in self.wired else 0) | 2
            self._put("<IIBBH", 64 + 12 * index, strings + offsets[index], data + 8 * index, self.codes[-1], flags, 0)
            self._put("<IIII", extras + 16 * index, 0, 1 if each.name in self.wired else 0, 0, 0)
        self.memory[strings : strings + len(names)] = names
        tables = (modules, phases, phase_list, extras, deliveries, end, end, end, end, queue, snapshot)
        self._put("<QdII", control, 1, self.rate_hz, 1, 1)
        self._put("<11Q", control + 24, *tables)
        self._put("<IIII", control + 112, 16, os.getpid(), 1, 0)
        self._put("<Q", control + 232, 2**64 - 1)
        self._put("<IIdIIII", modules + 64, 0, 1, 1.0 / self.rate_hz, 0, 0, count, strings + module_name)
        self._put("<IIII", phases + 8, 0, 0, 0, 1)
        self._put("<dIIQQQ", 16, 0.0, count, 4, end, control, data)
        self._put("<II", 0, 0x4845524D, 1)

    def _put(self, layout, offset, *values):
        struct.pack_into(layout, self.memory, offset, *values)

    def _take(self, layout, offset):
        return struct.unpack_from(layout, self.memory, offset)[0]

    def _wake(self):
        self._put("<I", self.module_at, self._take("<I", self.module_at) + 1)
        _libc.syscall(_SYS_FUTEX, ctypes.c_void_p(self.base + self.module_at), _FUTEX_WAKE, 2**31 - 1, None, None, 0)

    def get(self, name):
        index = self.index[name]
        return self._take(FORMATS[self.codes[index]], self.data + 8 * index)

    def set(self, name, value):
        index = self.index[name]
        self._put("<Q", self.data + 8 * index, 0)
        self._put(FORMATS[self.codes[index]], self.data + 8 * index, value)

    def values(self):
        return {each.name: self.get(each.name) for each in self.signals}

    # The module's life.

    def start(self):
        """Segment, init, stage."""
        self.make_segment()
        status, text = self.command(INIT, struct.pack("<I", 0) + self.shm.encode() + b"\0")
        assert status == 0, f"init returned {status}: {text.decode()} {self.written()}"
        status, text = self.command(STAGE)
        assert status == 0, f"stage returned {status}: {text.decode()} {self.written()}"
        self.staged = True
        self._put("<I", self.control + 120, 2)
        return self

    def step(self):
        """One frame. Returns what the module's step returned."""
        self.frame += 1
        self.generation += 1
        phase = self.module_at + 128
        self._put("<Q", self.control + 152, self.frame)
        self._put("<I", self.control + 140, self.generation)
        self._put("<I", phase + 8, 1)
        self._put("<I", self.module_at + 8, self.generation)
        self._wake()
        deadline = time.monotonic() + self.timeout
        while self._take("<I", self.module_at + 12) != self.generation:
            if self.process.poll() is not None:
                raise ModuleGone(f"exit {self.process.returncode}: {self.written()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"frame {self.frame} did not end: {self.written()}")
            time.sleep(0.0002)
        return self._take("<i", self.module_at + 20)

    def stamps(self):
        """When the last step began and had ended, CLOCK_MONOTONIC nanoseconds, as the module says."""
        return self._take("<Q", self.module_at + 32), self._take("<Q", self.module_at + 40)

    def failure(self):
        """The reason that the module left for the step that failed."""
        _, _, answer = self._receive()
        return answer[4:].decode()

    def terminate(self):
        """Returns the module's exit code."""
        status, _ = self.command(TERMINATE)
        assert status == 0
        return self.process.wait(self.timeout)

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.commands)
        os.close(self.replies)
        self.output.close()
        if self.memory is not None:
            self.memory = None  # the mapping goes with its last view
            os.close(self.descriptor)
            os.unlink("/dev/shm" + self.shm)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
