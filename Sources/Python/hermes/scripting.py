"""A running simulation seen from a script: read it, set it, wait for its frames.

::

    from hermes.scripting import SimulationAPI

    with SimulationAPI("/hermes_flight") as sim:
        sim.wait_frame(100)
        print(sim.sample(["icarus.Vehicle.position.x", "icarus.Vehicle.thrust"]))
        sim.inject({"injector.thrust_command": 2.5})
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import os
import time as _time
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Sequence

from . import _library, _module, _values
from ._values import Value

__all__ = [
    "HermesError",
    "QueueFullError",
    "ReadOnlySignalError",
    "SignalInfo",
    "SimulationAPI",
    "SimulationEndedError",
    "SimulationNotFoundError",
    "SimulationResetError",
    "TimeoutError",
    "UnknownSignalError",
]

#: True once a SimulationAPI was opened in this process.
opened = False

# Calls that wait come back this often, in seconds, so that Ctrl-C and other signal handlers run.
_SLICE = 0.1

_STATES = {1: "staging", 2: "running", 3: "paused", 4: "ended"}


class HermesError(Exception):
    """Something a simulation refused or could not do; the text is a sentence that says why."""


class SimulationNotFoundError(HermesError):
    """No simulation of that name runs here, or it has not staged yet."""


class UnknownSignalError(HermesError, KeyError):
    """There is no signal of that name; the text names a near one where there is one."""

    __str__ = Exception.__str__  # KeyError shows the quoted repr


class ReadOnlySignalError(HermesError):
    """The signal is driven by a wire, or is not writable."""


class QueueFullError(HermesError):
    """Too many values wait for the next frame edge; none of this call was taken."""


class SimulationEndedError(HermesError):
    """The simulation is over."""


class SimulationResetError(HermesError):
    """A reset began a new epoch while the call waited."""


class TimeoutError(HermesError, builtins.TimeoutError):
    """What was waited for did not come in time."""

    __str__ = Exception.__str__


@dataclass(frozen=True)
class SignalInfo:
    """What is known of one signal."""

    name: str
    #: "f64", "f32", "i64", "i32" or "bool"
    type: str
    #: "" for none
    unit: str
    description: str
    #: users may set it (and no wire drives it)
    writable: bool
    #: part of recordings and digests
    published: bool
    wired: bool


class SimulationAPI:
    """One running simulation on this host.

    name: "/hermes_flight" or "flight". By default that of the simulation which started this script, else "/hermes_sim".
    timeout: seconds to wait for the simulation to appear and to stage; 0 asks once.

    In a script started by Hermes the first SimulationAPI tells the node that this is a free script, which runs beside
    the frames, and comes back when the simulation has staged.

    Raises SimulationNotFoundError when there is no such simulation. May be used by several threads.
    """

    def __init__(self, name: Optional[str] = None, timeout: float = 0.0) -> None:
        global opened
        self._client: Optional[int] = None
        self._lib = _library.library()
        if os.environ.get("HERMES_REPLY_FIFO") and not _module.started:
            _begin_free_script(self._lib)
        opened = True
        self.name = name or os.environ.get("HERMES_SHM") or "/hermes_sim"
        deadline = _time.monotonic() + timeout
        while True:
            client = self._lib.hermes_client_open(self.name.encode())
            if client:
                break
            code, reason = ctypes.get_errno(), _library.last_error()
            if code not in (errno.ENOENT, errno.EAGAIN):
                raise HermesError(reason or f"{self.name}: {os.strerror(code)}")
            if _time.monotonic() >= deadline:
                raise SimulationNotFoundError(reason or f"no simulation {self.name} runs here")
            _time.sleep(0.02)
        self._client = client
        self._signals: List[SignalInfo] = []
        self._codes: List[int] = []
        self._indices: Dict[str, int] = {}
        information = _library.SignalInformation()
        for index in range(self._lib.hermes_client_count(client)):
            if self._lib.hermes_client_info(client, index, ctypes.byref(information)) != 0:
                self.close()
                raise HermesError(_library.last_error() or f"{self.name}: its directory can't be read")
            info = SignalInfo(
                name=(information.name or b"").decode("utf-8", "replace"),
                type=_values.WORDS[information.type],
                unit=(information.unit or b"").decode("utf-8", "replace"),
                description=(information.description or b"").decode("utf-8", "replace"),
                writable=bool(information.flags & 1) and not information.wired,
                published=bool(information.flags & 2),
                wired=bool(information.wired),
            )
            self._signals.append(info)
            self._codes.append(information.type)
            self._indices[info.name] = index

    # One value.

    def get(self, name: str) -> Value:
        """The current value of a signal: float, int or bool by its type. Raises UnknownSignalError."""
        client, index = self._open(), self._index(name)
        bits = ctypes.c_uint64()
        self._check(self._lib.hermes_client_get_bits(client, index, ctypes.byref(bits)), f"get {name}")
        return _values.from_bits(bits.value, self._codes[index])

    def set(self, name: str, value: Value) -> None:
        """Queues a value, which is applied at the next frame edge. Numbers are converted to the signal's type: integers
        round half to even and saturate.

        Raises UnknownSignalError, ReadOnlySignalError, QueueFullError, SimulationEndedError.
        """
        self.inject({name: value})

    # Many values.

    def inject(self, values: Mapping[str, Value]) -> None:
        """Queues values that are applied together, at one frame edge: all of them or, with an error, none.
        Errors as for `set`."""
        client = self._open()
        count = len(values)
        indices = (ctypes.c_uint32 * count)()
        bits = (ctypes.c_uint64 * count)()
        for position, (name, value) in enumerate(values.items()):
            index = self._index(name)
            indices[position] = index
            bits[position] = _values.to_bits(value, self._codes[index], f"signal {name!r}")
        if count:
            self._check(self._lib.hermes_client_set_bits(client, indices, bits, count), "set " + ", ".join(values))

    def sample(self, names: Sequence[str], *, timeout: float = 5.0, as_array: bool = False) -> Any:
        """The values of several signals in one frame, never a mix of two.

        Returns a dict from name to value or, with `as_array`, a numpy array of float64 in the order of `names`.
        timeout: seconds to wait for the frame edge. Raises UnknownSignalError, TimeoutError, SimulationEndedError.
        """
        client = self._open()
        count = len(names)
        indices = (ctypes.c_uint32 * count)(*[self._index(name) for name in names])
        bits = (ctypes.c_uint64 * count)()
        frame, at = ctypes.c_uint64(), ctypes.c_double()
        deadline = _time.monotonic() + timeout
        while True:
            left = max(deadline - _time.monotonic(), 0.0)
            code = self._lib.hermes_client_sample(
                client, indices, count, bits, ctypes.byref(frame), ctypes.byref(at), min(left, _SLICE)
            )
            if code != errno.ETIMEDOUT or left <= _SLICE:
                break
        self._check(code, "sample")
        codes = [self._codes[index] for index in indices]
        if not as_array:
            return {name: _values.from_bits(raw, code) for name, raw, code in zip(names, bits, codes)}
        import numpy

        if not any(codes):
            return numpy.frombuffer(bits, dtype=numpy.float64).copy()
        return numpy.array([_values.from_bits(raw, code) for raw, code in zip(bits, codes)], dtype=numpy.float64)

    def signals(self) -> List[SignalInfo]:
        """Every signal of this host's modules, in the segment's order."""
        return list(self._signals)

    # Where the simulation is.

    def get_frame(self) -> int:
        """The last complete frame; 0 after staging."""
        return int(self._lib.hermes_client_frame(self._open()))

    def get_time(self) -> float:
        """Simulation time of the last complete frame, in seconds."""
        return float(self._lib.hermes_client_time(self._open()))

    @property
    def rate_hz(self) -> float:
        """Frames per simulated second."""
        return float(self._lib.hermes_client_rate(self._open()))

    @property
    def epoch(self) -> int:
        """How many resets there were."""
        return int(self._lib.hermes_client_epoch(self._open()))

    @property
    def state(self) -> str:
        """"staging", "running", "paused" or "ended"."""
        return _STATES.get(self._lib.hermes_client_state(self._open()), "ended")

    def wait_frame(self, target: int, timeout: Optional[float] = None) -> int:
        """Sleeps until frame `target` is complete. Returns the last complete frame.

        timeout: seconds, None for ever. Raises TimeoutError, SimulationEndedError when the simulation ended before that
        frame, SimulationResetError when a reset began a new epoch meanwhile.
        """
        client = self._open()
        deadline = None if timeout is None else _time.monotonic() + timeout
        epoch = self._lib.hermes_client_epoch(client)
        while True:
            left = _SLICE if deadline is None else max(deadline - _time.monotonic(), 0.0)
            code = self._lib.hermes_client_wait_frame(client, max(int(target), 0), min(left, _SLICE))
            if code != errno.ETIMEDOUT:
                break
            if self._lib.hermes_client_epoch(client) != epoch:
                code = errno.ECANCELED
                break
            if deadline is not None and left <= _SLICE:
                frame = self.get_frame()
                raise TimeoutError(f"{self.name}: frame {target} was not complete after {timeout:g} s; it is at frame {frame}")
        if code == errno.ECANCELED:
            raise SimulationResetError(f"{self.name}: a reset began a new epoch before frame {target} was complete")
        self._check(code, f"wait for frame {target}")
        return self.get_frame()

    # Its end.

    def close(self) -> None:
        """Lets go of the simulation, which goes on untouched. May be called again."""
        client, self._client = self._client, None
        if client is not None:
            self._lib.hermes_client_close(client)

    def __enter__(self) -> SimulationAPI:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_client", None) is not None:
            self.close()

    def _open(self) -> int:
        if self._client is None:
            raise HermesError(f"this SimulationAPI of {self.name} was closed")
        return self._client

    def _index(self, name: str) -> int:
        index = self._indices.get(name)
        if index is None:
            self._lib.hermes_client_find(self._open(), name.encode("utf-8", "surrogateescape"))
            raise UnknownSignalError(_library.last_error() or f"{self.name} has no signal {name!r}")
        return index

    def _check(self, code: int, doing: str) -> None:
        if code != 0:
            _raise(code, f"{self.name}: {doing}")


def _raise(code: int, doing: str) -> NoReturn:
    reason = _library.last_error() or f"{doing}: {os.strerror(code)}"
    kinds = {
        errno.ENOENT: UnknownSignalError,
        errno.EPERM: ReadOnlySignalError,
        errno.ENOBUFS: QueueFullError,
        errno.ESHUTDOWN: SimulationEndedError,
        errno.ETIMEDOUT: TimeoutError,
        errno.ECANCELED: SimulationResetError,
    }
    raise kinds.get(code, HermesError)(reason)


def _begin_free_script(lib: ctypes.CDLL) -> None:
    """Tells the node that this process is a free script, and waits for staging, however long that takes."""
    code = lib.hermes_free_script_begin(1e9)
    if code != 0:
        _raise(code, "start as a free script")
